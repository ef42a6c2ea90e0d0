//! The drill says whether the newest snapshot comes back, how long that takes, and how old it is.

use serde_json::Value;

use crate::support::{Scene, Version, chunk_key};

#[test]
fn drill_restores_compares_and_asks_the_projects_own_questions() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int, price int); INSERT INTO dish VALUES (1, 10), (2, 20)");
    scene.project.write("migrations/app/checks/price.sql", "SELECT id FROM dish WHERE price > 15;\n");
    let id = scene.take_snapshot();
    let listed = scene.run(0, &["snapshot", "list"]).stdout;
    assert!(!listed.contains("proven"), "{listed}");
    let status = scene.run(0, &["status"]).stdout;
    assert!(
        status.starts_with("newest snapshot just now, none proven (`safe-migrate drill`); a loss now would"),
        "{status}"
    );

    let failed = scene.run(6, &["drill"]);
    assert!(failed.stdout.contains("price.sql: it returns 1 rows"), "{}", failed.stdout);
    assert!(failed.stderr.contains("does not come back as it should"), "{}", failed.stderr);
    scene.project.write("migrations/app/checks/price.sql", "SELECT id FROM dish WHERE price > 25;\n");
    let document: Value = serde_json::from_str(&scene.run(0, &["drill", "--json"]).stdout).unwrap();
    assert_eq!(document["drill"]["snapshot"], id.as_str());
    assert!(
        document["restored_seconds"].as_f64().unwrap() > 0.0 && document["drill"]["proof"]["rows"] == 2,
        "{document}"
    );
    assert_eq!(document["drill"]["passed"].as_array().unwrap().len(), 1);
    let listed = scene.run(0, &["snapshot", "list"]).stdout;
    assert!(listed.contains("proven"), "{listed}");

    let status: Value = serde_json::from_str(&scene.run(0, &["status", "--json"]).stdout).unwrap();
    assert_eq!(status["protection"]["proven"]["id"], id.as_str());
    assert!(status["protection"]["proven"]["seconds"].as_f64().unwrap() > 0.0, "{status}");

    let old = scene.run(3, &["drill", "--max-age", "1ms"]);
    assert!(old.stdout.contains("2 rows in 1 table"), "{}", old.stdout);
    assert!(
        old.stderr.contains("the newest snapshot is ") && old.stderr.contains("old, more than 1 ms"),
        "{}",
        old.stderr
    );

    let path = scene.store.directory().join(format!("snapshots/{id}/manifest.json"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = manifest["tables"][0]["segments"][0]["chunk"].as_str().unwrap();
    std::fs::remove_file(scene.store.directory().join(chunk_key(&manifest, rows))).unwrap();
    let missing = scene.run(6, &["drill"]);
    assert!(missing.stderr.contains("public.dish"), "{}", missing.stderr);
    // What was proven holds no longer.
    let status: Value = serde_json::from_str(&scene.run(0, &["status", "--json"]).stdout).unwrap();
    assert_eq!(status["protection"]["proven"], Value::Null);
    assert_eq!(status["protection"]["newest"]["id"], id.as_str());
}
