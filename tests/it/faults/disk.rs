//! No space left: on the server during a rewrite, and in a local store. Needs root, to mount a small file system.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{APPLY, Ground};
use crate::support::{Scene, TestCluster, Version, output_of};

/// A file system of a few megabytes, unmounted with the handle.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Mounts it, or says why not.
    fn mount(at: &'a Path, size: &str) -> Result<Small<'a>, String> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0777"), "safe-migrate-test"]).arg(at);
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Small(at)),
            refused => Err(format!("not run: a file system cannot be mounted here ({refused:?})")),
        }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn fault_disk_full_on_the_server_in_a_rewrite() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &[]));
    let space = cluster.directory().join("small");
    let _small = match Small::mount(&space, "12m") {
        Ok(small) => small,
        Err(why) => return println!("{why}"),
    };
    let inside = space.join("space");
    std::fs::create_dir(&inside).unwrap();
    output_of(Command::new("chown").arg("--reference").arg(cluster.directory().join("data")).arg(&inside));
    cluster.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", inside.display()));
    let ground = Ground::on(Scene::on(&cluster));
    ground.scene.database.sql(
        "CREATE TABLE big (a int, b text) TABLESPACE small;
         INSERT INTO big SELECT i, repeat('x', 100) FROM generate_series(1, 55000) i",
    );
    let rewrite = "-- migrate:up\nALTER TABLE big ALTER COLUMN a TYPE bigint;\n-- migrate:down\nSELECT 1;\n";
    ground.scene.project.write_migration("kitchen", "0003_tag", rewrite);
    let output = ground.scene.run(4, &APPLY);
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    ground.says_the_state(&output);
    let type_of =
        "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'big'::regclass AND attnum = 1";
    assert_eq!(ground.scene.database.query(type_of), "integer");
    assert_eq!(ground.scene.database.query("SELECT count(*) FROM big"), "55000");
    let effects = ground.holds();
    assert!(effects.size && effects.index && !effects.tag);
    ground.scene.project.write_migration("kitchen", "0003_tag", super::MIGRATIONS[2].1);
    ground.goes_through(&APPLY);
}

#[test]
fn fault_disk_full_in_a_local_store() {
    let ground = Ground::new(Version::V15);
    ground.scene.database.sql("CREATE TABLE big AS SELECT i, md5(i::text) FROM generate_series(1, 100000) i");
    let store = ground.scene.store.directory().to_owned();
    {
        let _small = match Small::mount(&store, "300k") {
            Ok(small) => small,
            Err(why) => return println!("{why}"),
        };
        let output = ground.scene.run(6, &APPLY);
        assert!(output.stderr.contains("no space left"), "{}", output.stderr);
        ground.says_the_state(&output);
        assert_eq!(ground.scene.applied(), Vec::<String>::new());
        ground.holds();
    }
    ground.goes_through(&APPLY);
}
