//! What a hostile migration tries from the shadow: production's own server over a socket seen through `/proc`, its files, a
//! world-writable directory, a program. Nothing in the text of the migration gives it away.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Trap;
use crate::support::{Output, Project, Scene, TestCluster, Version, binary};

/// The attempts; what became of each stands in the table `tried`.
fn migration(attempts: &[(&str, String)]) -> String {
    let blocks: String = attempts
        .iter()
        .map(|(name, sql)| {
            format!(
                "DO $do$ BEGIN EXECUTE convert_from(decode('{}', 'hex'), 'UTF8'); INSERT INTO tried VALUES ('{name}', 'it worked');
                   EXCEPTION WHEN OTHERS THEN INSERT INTO tried VALUES ('{name}', SQLERRM); END $do$;\n",
                hex(sql)
            )
        })
        .collect();
    format!("-- migrate:up\n{blocks}")
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

struct Ground {
    scene: Scene,
    trap: Trap,
}

impl Ground {
    fn new(version: Version) -> Ground {
        let scene = Scene::on(&TestCluster::shared(version));
        scene.database.sql(
            "CREATE EXTENSION dblink; CREATE TABLE tried (attempt text, outcome text); CREATE TABLE reached (how text)",
        );
        Ground { scene, trap: Trap::new() }
    }

    /// A file beside the memory that servers share, of a name that no other test has.
    fn in_memory(&self) -> PathBuf {
        let trap = self.trap.path().file_name().unwrap().to_string_lossy();
        Path::new("/dev/shm").join(format!("safe-migrate-{trap}"))
    }

    fn attempts(&self) -> Vec<(&'static str, String)> {
        let (cluster, database) = (self.scene.cluster(), self.scene.database.name());
        let login = format!("port={} dbname={database} user=admin password={}", cluster.port(), cluster.password());
        let socket = cluster.directory().display();
        let through = format!("/proc/{}/root{socket}", cluster.process_id());
        let dial = |host: &str, how: &str| {
            format!("SELECT dblink_exec('host={host} {login}', $i$INSERT INTO reached VALUES ('{how}')$i$)")
        };
        let (trap, data) = (self.trap.path().display(), cluster.directory().join("data"));
        vec![
            ("tcp", dial("127.0.0.1", "tcp")),
            ("socket", dial(&socket.to_string(), "socket")),
            ("proc", dial(&through, "proc")),
            ("file", format!("COPY (SELECT 1) TO '{trap}/file'")),
            ("proc-file", format!("COPY (SELECT 1) TO '/proc/{}/root{trap}/proc-file'", cluster.process_id())),
            ("data", format!("COPY (SELECT 1) TO '{}/planted'", data.display())),
            ("program", format!("COPY (SELECT 1) TO PROGRAM 'cat > {trap}/program'")),
            ("memory", format!("COPY (SELECT 1) TO '{}'", self.in_memory().display())),
        ]
    }

    /// Looks that leave one more row in `tried` when they succeed, which the report counts.
    fn looks(&self) -> [(&'static str, String); 2] {
        let file = self.scene.cluster().directory().join("data/PG_VERSION");
        [
            ("a file of production", format!("SELECT pg_read_file('{}') <> ''", file.display())),
            ("processes", "SELECT count(*) > 1 FROM pg_ls_dir('/proc') p WHERE p ~ '^[0-9]+$'".to_owned()),
        ]
    }

    /// Nothing of production was changed and nothing outside was written.
    #[track_caller]
    fn nothing_was_reached(&self, output: &Output, case: &str) {
        assert_eq!(self.scene.database.query("SELECT string_agg(how, ', ') FROM reached"), "", "{case}");
        self.trap.is_empty();
        let planted = [self.scene.cluster().directory().join("data/planted"), self.in_memory()];
        for path in planted {
            assert!(!path.exists(), "{case}: {} was written", path.display());
        }
        assert!([0, 3].contains(&output.status), "{case}: {}{}", output.stdout, output.stderr);
    }

    fn clear(&self) {
        self.scene.database.sql("TRUNCATE reached; TRUNCATE tried");
        let _ = std::fs::remove_file(self.scene.cluster().directory().join("data/planted"));
        let _ = std::fs::remove_file(self.in_memory());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.in_memory());
    }
}

/// PATH without `unshare`, as on a machine that has no namespaces for us.
fn path_without_namespaces(ground: &Ground) -> PathBuf {
    let directory = ground.scene.project.directory().join("path");
    std::fs::create_dir(&directory).unwrap();
    for program in ["sh", "setpriv", "sleep", "rm", "head", "kill", "readlink", "su"] {
        let all = std::env::var("PATH").unwrap();
        if let Some(found) = all.split(':').map(|one| Path::new(one).join(program)).find(|one| one.is_file()) {
            std::os::unix::fs::symlink(found, directory.join(program)).unwrap();
        }
    }
    directory
}

/// The project as an OS user without rights runs it: its files, store and directory are that user's.
fn as_nobody(ground: &Ground, arguments: &[&str]) -> Output {
    let project = ground.scene.project.directory();
    let program = project.join("safe-migrate");
    std::fs::copy(binary(), &program).unwrap();
    // The path of a Unix socket has 107 bytes.
    let temporary = tempfile::Builder::new().prefix("s").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(project, PermissionsExt::from_mode(0o755)).unwrap();
    let owned = [project.to_owned(), ground.scene.store.directory().to_owned(), temporary.path().to_owned()];
    for directory in owned {
        let changed = std::process::Command::new("chown").args(["-R", "nobody"]).arg(directory).status().unwrap();
        assert!(changed.success());
    }
    let command = ground.scene.project.command(&[]);
    let mut nobody = std::process::Command::new("setpriv");
    nobody.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]).arg(&program).args(arguments);
    nobody.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    nobody.env("TMPDIR", temporary.path()).current_dir(project).stdin(std::process::Stdio::null());
    Project::output_of(&mut nobody)
}

fn hostile_migration_reaches_nothing(version: Version) {
    let ground = Ground::new(version);
    let scene = &ground.scene;
    let attempts = ground.attempts();
    // The control: on a server without walls all of it works.
    for (name, sql) in &attempts {
        scene.database.sql(sql);
        let came = scene.database.query("SELECT count(*) FROM reached");
        assert!(!["tcp", "socket", "proc"].contains(name) || came != "0", "the control does not work: {name}");
    }
    ground.trap.was_sprung();
    assert!(ground.in_memory().exists());
    ground.clear();
    let looks: String = ground
        .looks()
        .iter()
        .map(|(name, sql)| {
            assert_eq!(scene.database.query(sql), "t", "the control does not work: {name}");
            format!(
                "DO $do$ DECLARE seen bool; BEGIN EXECUTE convert_from(decode('{}', 'hex'), 'UTF8') INTO seen;
                   IF seen THEN INSERT INTO tried VALUES ('{name}'); END IF; EXCEPTION WHEN OTHERS THEN NULL; END $do$;\n",
                hex(sql)
            )
        })
        .collect();

    scene.project.write_migration("hostile", "0001_hidden", &(migration(&attempts) + &looks));
    let rehearsed = scene.project.run(&["rehearse", "--snapshot", "new"]);
    ground.nothing_was_reached(&rehearsed, "as it is");
    assert!(
        rehearsed.stdout.contains("pass") || rehearsed.stderr.contains("pass"),
        "{}{}",
        rehearsed.stdout,
        rehearsed.stderr
    );
    assert!(rehearsed.stdout.contains("public.tried: 0 before, 8 after"), "{}", rehearsed.stdout);
    let doctor = scene.project.run(&["doctor"]).stdout;
    assert!(doctor.contains("behind seccomp and Landlock, and namespaces"), "{doctor}");

    // Without namespaces the other walls stand, and nothing has to be switched off for an honest database.
    let path = path_without_namespaces(&ground);
    let without = [("PATH", path.to_str().unwrap())];
    let rehearsed = scene.project.run_with(&["rehearse", "--no-cache"], &without);
    ground.nothing_was_reached(&rehearsed, "without namespaces");
    assert_eq!(rehearsed.status, 0, "{}{}", rehearsed.stdout, rehearsed.stderr);
    assert!(rehearsed.stdout.contains("behind seccomp and Landlock; without namespaces ("), "{}", rehearsed.stdout);
    // Root chooses the server's user, who may read nothing of production's; processes can be seen.
    assert!(rehearsed.stdout.contains("public.tried: 0 before, 9 after"), "{}", rehearsed.stdout);
    let doctor = scene.project.run_with(&["doctor"], &without).stdout;
    assert!(doctor.contains("behind seccomp and Landlock; without namespaces ("), "{doctor}");

    let rehearsed = as_nobody(&ground, &["rehearse", "--no-cache"]);
    ground.nothing_was_reached(&rehearsed, "as a user without rights");
    assert_eq!(rehearsed.status, 0, "{}{}", rehearsed.stdout, rehearsed.stderr);
    ground.clear();
}

#[test]
fn security_hostile_migration_reaches_nothing() {
    hostile_migration_reaches_nothing(Version::V15);
}

#[test]
fn security_hostile_migration_reaches_nothing_18() {
    hostile_migration_reaches_nothing(Version::V18);
}
