//! P1 to P9 under faults: what production, ledger, store and machine must look like after each, and that the next
//! command works. One file for each kind of fault; CONTRIBUTING.md has the table of faults and promises.

mod connection;
mod disk;
mod kill;
mod rights;
mod server;
mod signal;
mod store;
mod traffic;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Output, Scene, ShadowDirectory, Version};

/// Rows of the table that the migrations change.
const ROWS: u32 = 500;

const MIGRATIONS: [(&str, &str); 3] = [
    (
        "0001_size",
        "-- allow: update-without-where every price
-- allow: drop-column a test
-- migrate:up
ALTER TABLE dish ADD COLUMN size int;
UPDATE dish SET price = price + 1;
-- migrate:down
UPDATE dish SET price = price - 1;
ALTER TABLE dish DROP COLUMN size;
",
    ),
    (
        "0002_index",
        "-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY dish_price ON dish (price);
-- migrate:down transaction:false
DROP INDEX CONCURRENTLY dish_price;
",
    ),
    (
        "0003_tag",
        "-- allow: drop-table a test
-- migrate:up
CREATE TABLE tag AS SELECT id, 'new' AS word FROM dish;
-- migrate:down
DROP TABLE tag;
",
    ),
];

/// Without a rehearsal, which has kill tests of its own: what is left is what touches production.
const APPLY: [&str; 4] = ["apply", "--yes", "--skip-rehearsal", "test"];
const ROLLBACK: [&str; 6] = ["rollback", "kitchen", "zero", "--yes", "--skip-rehearsal", "test"];

/// A production with rows and three pending migrations, one of them outside a transaction.
pub struct Ground {
    pub scene: Scene,
    shadow: ShadowDirectory,
}

/// How much of the plan production has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    size: bool,
    index: bool,
    tag: bool,
}

impl Ground {
    pub fn new(version: Version) -> Ground {
        Ground::on(Scene::empty(version))
    }

    pub fn on(scene: Scene) -> Ground {
        let scene = scene.let_data_go();
        scene.database.sql(&format!(
            "CREATE TABLE dish (id int PRIMARY KEY, price numeric NOT NULL);
             INSERT INTO dish SELECT i, i FROM generate_series(1, {ROWS}) i"
        ));
        for (name, text) in MIGRATIONS {
            scene.project.write_migration("kitchen", name, text);
        }
        let shadow = ShadowDirectory::of(&scene.project);
        Ground { scene, shadow }
    }

    /// Starts a command whose output can be read when it is over.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.scene.project.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What production has of each migration: all of its effect or nothing.
    #[track_caller]
    pub fn effects(&self) -> Applied {
        let query = |sql: &str| self.scene.database.query(sql);
        let size =
            query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'dish'::regclass AND attname = 'size'") == "1";
        let expected = ROWS * (ROWS + 1) / 2 + if size { ROWS } else { 0 };
        assert_eq!(query("SELECT count(*) || ' ' || sum(price) FROM dish"), format!("{ROWS} {expected}"), "whole rows");
        let index =
            query("SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('dish_price') AND indisvalid") == "1";
        let tag = query("SELECT to_regclass('tag')") == "tag";
        if tag {
            assert_eq!(query("SELECT count(*) FROM tag"), ROWS.to_string());
        }
        Applied { size, index, tag }
    }

    /// P1 to P8 hold: effects and ledger agree, what was changed has a snapshot, nothing of ours is left over.
    #[track_caller]
    pub fn holds(&self) -> Applied {
        self.settled();
        let effects = self.effects();
        let ledger = self.scene.applied();
        let has = |name: &str| ledger.iter().any(|one| one == &format!("kitchen/{name}"));
        assert_eq!(effects.size, has("0001_size"), "P5: {effects:?} {ledger:?}");
        assert_eq!(effects.tag, has("0003_tag"), "P5: {effects:?} {ledger:?}");
        if effects.index != has("0002_index") {
            assert_ne!(self.journal(), "", "P5: a step outside a transaction is journaled: {effects:?} {ledger:?}");
        }
        self.every_change_has_a_snapshot();
        assert_eq!(self.scene.databases(), [self.scene.database.name()], "P6");
        self.shadow.must_become_empty();
        effects
    }

    /// Waits until no session of a dead run is left in production: the server notices within two seconds.
    #[track_caller]
    fn settled(&self) {
        let ours = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^(safe-migrate|pg_dump)' AND datname = '{}'",
            self.scene.database.name()
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.scene.cluster().query("postgres", &ours) != "0" {
            assert!(Instant::now() < deadline, "P8: a session of a dead run stays");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn has_ledger(&self) -> bool {
        !self.scene.database.query("SELECT to_regclass('safe_migrate.step')").is_empty()
    }

    /// The steps that began and were not recorded.
    fn journal(&self) -> String {
        if !self.has_ledger() {
            return String::new();
        }
        self.scene.database.query("SELECT name, state FROM safe_migrate.step WHERE state <> 'recorded'")
    }

    /// P1: each run in the ledger names a snapshot that the store lists and that is whole.
    #[track_caller]
    fn every_change_has_a_snapshot(&self) {
        let listed = self.scene.snapshots();
        if !self.has_ledger() {
            return;
        }
        let runs = self.scene.database.query("SELECT DISTINCT snapshot_id FROM safe_migrate.run");
        for id in runs.lines() {
            assert!(listed.iter().any(|one| one == id), "P1: {id} is not among {listed:?}");
        }
        if let Some(id) = runs.lines().last() {
            self.scene.run(0, &["snapshot", "verify", id, "--level", "hash"]);
        }
    }

    /// The same command again ends well, and everything is applied (or rolled back) exactly once.
    #[track_caller]
    pub fn goes_through(&self, arguments: &[&str]) {
        let looked = self.scene.run(0, &["status"]);
        assert!(looked.stdout.contains("kitchen"), "{}", looked.stdout);
        self.scene.run(0, arguments);
        let forward = arguments[0] == "apply";
        assert_eq!(self.holds(), Applied { size: forward, index: forward, tag: forward });
        assert_eq!(self.scene.applied().len(), if forward { 3 } else { 0 });
        assert_eq!(self.journal(), "");
    }

    /// A command that stopped says what state production is in, and shows no secret.
    #[track_caller]
    pub fn says_the_state(&self, output: &Output) {
        assert!(output.stderr.contains("\nproduction: "), "exit {}: {}", output.status, output.stderr);
        self.scene.check(output.status, &["…"], output);
    }
}

/// Waits for a command to end.
#[track_caller]
pub fn ended(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Waits until something is so; the command must live meanwhile.
#[track_caller]
pub fn until(what: &str, child: &mut Child, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        if child.try_wait().unwrap().is_some() {
            let mut words = String::new();
            let _ = child.stderr.take().map(|mut stream| std::io::Read::read_to_string(&mut stream, &mut words));
            panic!("{what} never came: {words}");
        }
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}
