//! The same path on a bucket as on a directory: `rclone serve s3`, started and asked for its keys by the test.

use std::collections::BTreeMap;

use crate::support::{Contents, Project, Scene, TestStore, Version};

/// The chunks of rows by name, with their bytes. The schema's archive carries the time of its making, and the roles are
/// those of all tests on the server.
fn chunks_of_rows(store: &TestStore) -> BTreeMap<String, Vec<u8>> {
    let objects = store.objects();
    let manifests = objects.iter().filter(|(key, _)| key.ends_with("/manifest.json"));
    let mut chunks = BTreeMap::new();
    for (_, manifest) in manifests {
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let tables = manifest["tables"].as_array().unwrap().iter();
        for segment in tables.flat_map(|table| table["segments"].as_array().unwrap()) {
            let id = segment["chunk"].as_str().unwrap();
            let (_, bytes) = objects.iter().find(|(key, _)| key.contains(&format!("/{id}."))).unwrap();
            chunks.insert(id.to_owned(), bytes.clone());
        }
    }
    chunks
}

#[test]
fn a_bucket_serves_the_whole_path() {
    let scene = Scene::dusangire_on_rclone(Version::V15);
    scene.run(0, &["apply", "--yes"]);
    scene.database.sql(include_str!("support/rich.sql"));
    let expected = Contents::of(scene.cluster(), scene.database.name());
    scene.take_snapshot();
    scene.database.sql("DROP TABLE types");
    scene.run(0, &["restore", "latest", "--in-place", "--yes"]);
    let found = Contents::of(scene.cluster(), scene.database.name());
    let without_unlogged = |contents: Contents| -> Vec<(String, String)> {
        contents.relations.into_iter().filter(|(name, _)| name != "public.fleeting").collect()
    };
    assert_eq!(without_unlogged(found), without_unlogged(expected));
    assert_eq!(scene.run(0, &["apply", "--yes"]).stdout, "nothing to do\n");
    for number in [1, 2] {
        scene.database.sql(&format!("CREATE TABLE extra_{number} AS SELECT md5('{number}')"));
        scene.take_snapshot();
    }
    let forget =
        ["snapshot", "forget", "--keep-last", "1", "--keep-proven", "0", "--max-remove", "100", "--prune", "--yes"];
    let removed = scene.run(0, &forget).stdout;
    assert!(removed.contains("removed 1 snapshot\n") && !removed.contains("removed 0 chunks"), "{removed}");
    let checked = scene.run(0, &["store", "check", "--read", "1/1"]).stdout;
    assert!(checked.ends_with(": all is there\n"), "{checked}");
}

#[test]
fn a_bucket_holds_the_same_chunks_as_a_directory() {
    let bucket = Scene::dusangire_on_rclone(Version::V15);
    bucket.database.sql(
        "CREATE TABLE t (a int, b text); INSERT INTO t SELECT i, repeat('x', i % 100) FROM generate_series(1, 20000) i",
    );
    bucket.take_snapshot();
    let directory = tempfile::tempdir().unwrap();
    let local = format!("file://{}/store", directory.path().display());
    let output = bucket.run(0, &["snapshot", "create", "--store", &local]);
    assert_eq!(output.status, 0);

    let of_directory = chunks_of_rows(&TestStore::local(&directory.path().join("store")));
    assert!(!of_directory.is_empty(), "the table has rows");
    assert_eq!(chunks_of_rows(&bucket.store), of_directory);
}

#[test]
fn a_wrong_secret_is_refused_and_not_shown() {
    let scene = Scene::dusangire_on_rclone(Version::V15);
    let wrong = "wrong-0123456789abcdef";
    let before = scene.database.dump();
    let arguments = ["apply", "--yes"];
    let output = scene.project.run_with(&arguments, &[("AWS_SECRET_ACCESS_KEY", wrong)]);
    scene.check(6, &arguments, &output);
    assert!(!format!("{}{}", output.stdout, output.stderr).contains(wrong));
    assert_eq!(scene.store.objects(), []);
    assert_eq!(scene.database.dump(), before, "production is untouched");
}

#[test]
fn a_server_that_is_not_there_is_refused() {
    let scene = Scene::dusangire(Version::V15);
    let mut project = Project::dusangire(&scene.database, &scene.store);
    project.configure(&format!(
        "[database]\nurl = \"{}\"\n\n[store]\nurl = \"s3://backups/x\"\nendpoint = \"http://127.0.0.1:1\"\nregion = \"us-east-1\"\npath_style = true\n",
        scene.database.url()
    ));
    project.set("AWS_ACCESS_KEY_ID", "a");
    project.set("AWS_SECRET_ACCESS_KEY", "b");
    let before = scene.database.dump();
    let output = project.run(&["apply", "--yes"]);
    scene.check(6, &["apply"], &output);
    assert!(output.stderr.contains("127.0.0.1:1"), "{}", output.stderr);
    assert_eq!(scene.database.dump(), before);
}

#[test]
fn a_second_snapshot_of_the_same_rows_sends_none_of_them_again() {
    let scene = Scene::dusangire(Version::V15);
    for table in ["large_a", "large_b"] {
        let name = format!("md5('{table}' || n) || md5((n + 1)::text)");
        let rows = format!("SELECT n AS id, {name} AS name FROM generate_series(1, 250000) n");
        scene.database.sql(&format!("CREATE TABLE {table} AS {rows}"));
    }
    let chunks = || -> usize { scene.store.objects().iter().filter(|(key, _)| key.starts_with("chunks/")).count() };
    scene.run(0, &["snapshot", "create", "--jobs", "3"]);
    let first = chunks();
    assert!(first > 4, "several ranges of two tables: {first}");
    scene.run(0, &["snapshot", "create", "--jobs", "2"]);
    // pg_dump writes the time into its archive, pg_dumpall a random word into its script.
    assert!(chunks() <= first + 2, "{first} chunks, then {}", chunks());
    scene.database.sql("UPDATE large_a SET name = 'changed' WHERE id > 249000");
    scene.run(0, &["snapshot", "create", "--jobs", "3"]);
    assert!(chunks() <= first + 6, "the last range of one table: {first} chunks, then {}", chunks());
}
