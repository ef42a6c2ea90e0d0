//! `rollback` through the real binary: in the order of the plan, with all that depends on it, and back again.

use crate::support::{Scene, Version};

const ROWS: &str = "
    INSERT INTO accounts_user (email, password) VALUES ('a@example.org', 'x');
    INSERT INTO menu_category (name, slug) VALUES ('Ibirayi', 'ibirayi');
    INSERT INTO menu_menuitem (category_id, name, price, spiciness) SELECT id, 'Isombe', 2500, 'mild' FROM menu_category;";

/// The plan's hash, as the refusal of a plan that loses rows prints it.
fn hash_of_losses(scene: &Scene, arguments: &[&str]) -> String {
    let refused = scene.run(3, arguments);
    let hash = refused.stderr.rsplit_once("--accept-data-loss ").expect("the refusal says how to accept").1;
    hash.split_whitespace().next().unwrap().to_owned()
}

fn order_of(output: &str) -> Vec<String> {
    let is_id = |word: &&str| {
        word.split_once('/')
            .is_some_and(|(app, name)| ["accounts", "menu", "orders"].contains(&app) && name.starts_with("000"))
    };
    output.split_whitespace().filter(is_id).map(|word| word.trim_end_matches([',', ':']).to_owned()).collect()
}

fn rolls_back_and_comes_back(version: Version) {
    let scene = Scene::dusangire(version);
    scene.begin_applied();
    let (schema, applied) = (scene.schema(), scene.applied());

    let planned = scene.run(0, &["plan", "--rollback", "menu", "zero"]);
    let planned = order_of(&planned.stdout);
    assert_eq!(planned.last().map(String::as_str), Some("menu/0001_initial"));
    assert!(planned.iter().any(|one| one == "orders/0001_initial"), "orders depends on menu: {planned:?}");
    assert!(!planned.iter().any(|one| one.starts_with("accounts")), "{planned:?}");

    let rolled = scene.run(0, &["rollback", "menu", "zero", "--yes"]);
    let lines: String =
        rolled.stderr.lines().filter(|line| line.contains("rolled back ")).collect::<Vec<_>>().join("\n");
    assert_eq!(order_of(&lines), planned, "{}", rolled.stderr);
    assert!(scene.applied().iter().all(|one| one.starts_with("accounts/")), "{:?}", scene.applied());
    assert_eq!(scene.database.query("SELECT count(*) FROM pg_class WHERE relname ~ '^(menu|orders)_'"), "0");

    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.schema(), schema);
    let mut again = scene.applied();
    let mut before = applied;
    again.sort();
    before.sort();
    assert_eq!(again, before);
}

#[test]
fn rollback_of_an_app_takes_what_depends_on_it_and_apply_brings_it_back() {
    rolls_back_and_comes_back(Version::V15);
}

#[test]
fn rollback_of_an_app_takes_what_depends_on_it_and_apply_brings_it_back_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    rolls_back_and_comes_back(Version::V18);
}

#[test]
fn rollback_that_loses_rows_wants_the_plan_to_be_named() {
    let scene = Scene::dusangire(Version::V15);
    scene.begin_applied();
    scene.database.sql(ROWS);
    let before = scene.database.dump();
    let arguments = ["rollback", "menu", "zero", "--yes"];
    let hash = hash_of_losses(&scene, &arguments);
    assert_eq!(scene.database.dump(), before);

    scene.run(3, &[&arguments[..], &["--accept-data-loss", "0123456789abcdef"]].concat());
    assert_eq!(scene.database.dump(), before);
    scene.run(0, &[&arguments[..], &["--accept-data-loss", &hash]].concat());
    assert_eq!(scene.database.query("SELECT count(*) FROM accounts_user"), "1");

    // The rows come back from the snapshot, not from `apply`.
    scene.run(0, &["restore", "--before", "last-apply", "--in-place", "--yes"]);
    assert_eq!(scene.database.query("SELECT name, price, spiciness FROM menu_menuitem"), "Isombe|2500|mild");
}

#[test]
fn rollback_of_the_last_run_takes_exactly_what_it_applied() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["apply", "menu", "--yes"]);
    let (schema, applied) = (scene.schema(), scene.applied());
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &["rollback", "--last", "--yes"]);
    assert_eq!((scene.schema(), scene.applied()), (schema, applied));
}
