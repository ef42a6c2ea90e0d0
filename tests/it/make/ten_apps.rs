//! The ten apps of the restaurant: their migrations after the first are deleted, and `make` writes others that build the same.

use std::path::Path;

use super::normal_lines;
use crate::support::{Scene, Version};

/// The repository's migrations with each `schema.sql`. Without those after the first of each app, but for what the first
/// migration of another app stands on.
fn shortened(version: Version) -> Scene {
    let scene = Scene::dusangire(version).let_data_go();
    for (app, file) in files(&scene) {
        let kept = file.starts_with("0001_") || file == "schema.sql" || (app == "menu" && file.as_str() < "0005");
        if !kept {
            std::fs::remove_file(scene.project.migrations().join(&app).join(&file)).expect("it was listed");
        }
    }
    scene
}

/// App and file of all files of migrations.
fn files(scene: &Scene) -> Vec<(String, String)> {
    let names = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
        names.sort();
        names
    };
    let apps = names(&scene.project.migrations());
    let all = apps.into_iter().filter(|app| scene.project.migrations().join(app).is_dir());
    let of_app = |app: String| {
        let files = names(&scene.project.migrations().join(&app));
        files.into_iter().map(move |file| (app.clone(), file)).collect::<Vec<_>>()
    };
    all.flat_map(of_app).filter(|(_, file)| file.ends_with(".sql")).collect()
}

fn remade(version: Version) {
    let by_hand = Scene::dusangire(version);
    let apps: Vec<String> =
        files(&by_hand).into_iter().filter(|(_, file)| file == "schema.sql").map(|(app, _)| app).collect();
    assert_eq!(apps.len(), 10, "{apps:?}");
    assert_eq!(by_hand.run(0, &["make"]).stdout, "No changes detected\n");
    by_hand.run(0, &["apply", "--yes", "--skip-rehearsal", "only its schema is looked at"]);
    let wanted = normal_lines(&by_hand, by_hand.database.name());

    let scene = shortened(version);
    let before = files(&scene).len();
    let output = scene.run(0, &["make", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&output.stdout).expect("one document");
    for one in document["migrations"].as_array().expect("migrations") {
        let no_way_back = one["text"].as_str().is_some_and(|text| text.contains("PostgreSQL cannot take the value"));
        assert_eq!(one["reversible"], !no_way_back, "{one:#}");
    }
    for app in &apps {
        let made = document["migrations"].as_array().expect("migrations").iter();
        let own = made.filter(|one| one["migration"].as_str().is_some_and(|id| id.starts_with(&format!("{app}/"))));
        assert!(own.count() > 0, "nothing was made for {app}");
    }
    assert!(files(&scene).len() > before);
    assert_eq!(scene.run(0, &["make"]).stdout, "No changes detected\n");
    scene.run(0, &["lint"]);
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "make has run them"]);
    let built = normal_lines(&scene, scene.database.name());
    let missing: Vec<&String> = wanted.iter().filter(|line| !built.contains(line)).collect();
    assert_eq!(built, wanted, "missing: {missing:#?}");
}

#[test]
fn what_make_writes_builds_what_was_written_by_hand_on_15() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    remade(Version::V15);
}

#[test]
fn what_make_writes_builds_what_was_written_by_hand_on_18() {
    remade(Version::V18);
}

#[test]
fn an_app_by_itself_is_remade_from_its_first_migration() {
    let scene = Scene::dusangire(Version::V18);
    for (app, file) in files(&scene) {
        if app != "menu" || (file != "schema.sql" && !file.starts_with("0001_")) {
            std::fs::remove_file(scene.project.migrations().join(&app).join(&file)).expect("it was listed");
        }
    }
    scene.run(0, &["make", "menu"]);
    let wished = std::fs::read_to_string(scene.project.migrations().join("menu/schema.sql")).expect("it has one");
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "make has run them"]);
    super::assert_built(&scene, &wished);
}

#[test]
fn schema_files_are_written_from_the_migrations() {
    let scene = Scene::dusangire(Version::V18);
    for (app, file) in files(&scene).into_iter().filter(|(_, file)| file == "schema.sql") {
        std::fs::remove_file(scene.project.migrations().join(app).join(file)).expect("it was listed");
    }
    let refused = scene.run(2, &["make", "menu"]);
    assert!(refused.stderr.contains("there is no schema.sql below migrations"), "{}", refused.stderr);
    assert!(refused.stderr.contains("make APP --schema"), "{}", refused.stderr);
    let output = scene.run(0, &["make", "--schema", "menu", "notifications"]);
    assert_eq!(
        output.stdout,
        "created migrations/menu/schema.sql: it builds what the migrations build\n\
         created migrations/notifications/schema.sql: it builds what the migrations build\n"
    );
    // Apps without one are left as their migrations build them.
    assert_eq!(scene.run(0, &["make"]).stdout, "No changes detected\n");
    let there = scene.run(2, &["make", "--schema", "menu"]);
    assert!(there.stderr.contains("schema.sql"), "{}", there.stderr);
    assert_eq!(scene.run(0, &["make", "--schema"]).stdout.lines().count(), 8);
    assert_eq!(scene.run(0, &["make", "--schema"]).stdout, "every app has a schema.sql\n");
}
