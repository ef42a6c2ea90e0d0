//! Pairs of schemas, `pairs/NAME/before.sql` and `after.sql`: `make` leads from one to the other, lint has nothing to say, and
//! the way back leads back.
//!
//! The pairs of one test are the apps of one project: their objects have names of their own. Comments at the head of
//! `after.sql` say what else is wanted (`SAFE_MIGRATE_PAIR=view_chain` with `pairs_1` runs one pair):
//! ```text
//! -- make: --rename item.name=title     options of make
//! -- irreversible: no value              the reason why one migration has no way back
//! -- refused: partitioned                make cannot do this, and says why
//! -- only: 18                            the version that has it
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use super::assert_built;
use crate::support::{Scene, Version};

/// One pair.
struct Pair {
    name: String,
    before: String,
    after: String,
}

impl Pair {
    fn all(version: Version) -> Vec<Pair> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/make/pairs");
        let mut names: Vec<String> = std::fs::read_dir(&directory)
            .expect("there are pairs")
            .map(|entry| entry.expect("a pair").file_name().into_string().expect("a plain name"))
            .collect();
        names.sort();
        let read =
            |name: &str, file: &str| std::fs::read_to_string(directory.join(name).join(file)).expect("a pair has both");
        let pair = |name: String| Pair { before: read(&name, "before.sql"), after: read(&name, "after.sql"), name };
        let number = if version == Version::V15 { "15" } else { "18" };
        names.into_iter().map(pair).filter(|one| one.says("only").is_none_or(|only| only == number)).collect()
    }

    fn says(&self, word: &str) -> Option<&str> {
        let lines = self.after.lines().take_while(|line| line.starts_with("--"));
        lines.into_iter().find_map(|line| line.strip_prefix(&format!("-- {word}: ")))
    }

    fn options(&self) -> Vec<String> {
        let text = self.says("make").unwrap_or_default();
        // Words; one in double quotes is one word.
        let parts = text.split('"').enumerate();
        parts
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    fn write(&self, scene: &Scene) {
        if !self.before.is_empty() {
            scene.project.write_migration(&self.name, "0001_initial", &format!("-- migrate:up\n{}", self.before));
        }
        scene.project.write(&format!("migrations/{}/schema.sql", self.name), &self.after);
    }
}

pub(super) fn scene(version: Version) -> Scene {
    let scene = Scene::empty(version).let_data_go();
    scene.cluster().sql(
        "postgres",
        "DO $$ BEGIN CREATE ROLE make_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    scene
}

const GROUPS: usize = 4;

/// Runs `make` on every fourth pair at once, beginning with the one of this number.
fn group(version: Version, number: usize) {
    let all = Pair::all(version);
    if let Ok(name) = std::env::var("SAFE_MIGRATE_PAIR") {
        return reached(version, &all.iter().filter(|one| one.name == name).collect::<Vec<_>>());
    }
    let pairs: Vec<&Pair> =
        all.iter().filter(|one| one.says("refused").is_none()).skip(number).step_by(GROUPS).collect();
    assert!(pairs.len() >= 30, "{} pairs", pairs.len());
    reached(version, &pairs);
}

fn reached(version: Version, pairs: &[&Pair]) {
    let scene = scene(version);
    let mut arguments: Vec<String> = ["make", "--json", "--no-renames"].map(str::to_owned).to_vec();
    for pair in pairs {
        pair.write(&scene);
        arguments.extend(pair.options());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = scene.run(0, &arguments);
    let document: serde_json::Value = serde_json::from_str(&output.stdout).expect("one document");
    let mut made: BTreeMap<String, Vec<&serde_json::Value>> = BTreeMap::new();
    for one in document["migrations"].as_array().expect("migrations") {
        let id = one["migration"].as_str().expect("an id");
        made.entry(id.split('/').next().unwrap_or_default().to_owned()).or_default().push(one);
    }
    for pair in pairs {
        let own = made.get(&pair.name).unwrap_or_else(|| panic!("nothing was made for {}", pair.name));
        let text = |one: &&serde_json::Value| one["text"].as_str().unwrap_or_default().to_owned();
        let mut one_way: Vec<String> = own.iter().filter(|one| one["reversible"] == false).map(text).collect();
        if let Some(why) = pair.says("irreversible") {
            assert!(one_way.iter().any(|text| text.contains(why)), "{}: {why}: {one_way:#?}", pair.name);
            one_way.retain(|text| !text.contains(why));
        }
        assert!(one_way.is_empty(), "{} has no way back:\n{}", pair.name, one_way.join("\n"));
    }
    let again = scene.run(0, &["make", "--check"]);
    assert_eq!(again.stdout, "No changes detected\n");
    let output = scene.project.run(&["lint", "--json"]);
    let lint: serde_json::Value = serde_json::from_str(&output.stdout).expect("one document");
    for finding in lint["findings"].as_array().expect("findings") {
        let ours = !finding["file"].as_str().unwrap_or_default().ends_with("0001_initial.sql");
        let counts = finding["level"] == "warn" || finding["level"] == "deny";
        assert!(!ours || !counts || !finding["allowed"].is_null(), "{finding:#}");
    }
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "make has run them"]);
    let wished: String = pairs.iter().map(|pair| format!("{}\n", pair.after)).collect();
    assert_built(&scene, &wished);
}

#[test]
fn pairs_1_on_15() {
    group(Version::V15, 0);
}

#[test]
fn pairs_2_on_15() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    group(Version::V15, 1);
}

#[test]
fn pairs_3_on_15() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    group(Version::V15, 2);
}

#[test]
fn pairs_4_on_15() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    group(Version::V15, 3);
}

#[test]
fn pairs_1_on_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    group(Version::V18, 0);
}

#[test]
fn pairs_2_on_18() {
    group(Version::V18, 1);
}

#[test]
fn pairs_3_on_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    group(Version::V18, 2);
}

#[test]
fn pairs_4_on_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    group(Version::V18, 3);
}

/// What cannot be done is said with both definitions, and nothing is written.
fn refused(version: Version) {
    for pair in Pair::all(version).iter().filter(|one| one.says("refused").is_some()) {
        let scene = scene(version);
        pair.write(&scene);
        let output = scene.run(3, &["make", "--no-renames"]);
        let why = pair.says("refused").expect("it is filtered");
        assert!(
            output.stderr.contains(why) && output.stderr.contains("nothing was written"),
            "{}: {}",
            pair.name,
            output.stderr
        );
        let (have, want) = (output.stderr.contains("    - "), output.stderr.contains("    + "));
        assert!(have && want, "{}: {}", pair.name, output.stderr);
        let files = std::fs::read_dir(scene.project.migrations().join(&pair.name)).expect("the app").count();
        assert_eq!(files, 2, "{}: a file was written", pair.name);
    }
}

#[test]
fn what_cannot_be_done_is_refused_on_15() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    refused(Version::V15);
}

#[test]
fn what_cannot_be_done_is_refused_on_18() {
    refused(Version::V18);
}

#[test]
fn there_are_at_least_120_pairs() {
    assert!(Pair::all(Version::V15).len() >= 120 && Pair::all(Version::V18).len() >= 120);
}
