//! Managed services give no superuser: each promise, kept by roles that own their database and little else.

use crate::support::{Contents, Output, Scene, TestRole, Version};

/// What a service lets an ordinary owner make: a function of its own behind a check and an index, a trusted extension.
const SHOP: &str = "
    CREATE SCHEMA stock;
    CREATE FUNCTION stock.is_good(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''''';
    CREATE TABLE stock.dish (id serial PRIMARY KEY, name text CHECK (stock.is_good(name)), price numeric NOT NULL);
    CREATE INDEX dish_lower ON stock.dish (lower(name));
    CREATE TABLE stock.line (id serial PRIMARY KEY, dish int NOT NULL REFERENCES stock.dish, amount int DEFAULT 1);
    CREATE VIEW stock.cheap AS SELECT id, name FROM stock.dish WHERE price < 10;
    CREATE MATERIALIZED VIEW stock.sold AS SELECT dish, sum(amount) FROM stock.line GROUP BY 1;
    CREATE EXTENSION citext;
    INSERT INTO stock.dish (name, price) SELECT 'dish ' || n, n FROM generate_series(1, 500) n;
    INSERT INTO stock.line (dish) SELECT 1 + n % 500 FROM generate_series(1, 2000) n;
    REFRESH MATERIALIZED VIEW stock.sold;
    SELECT lo_from_bytea(0, '\\x0102');";

/// A scene whose database belongs to a role, and everything in it.
struct Owned {
    scene: Scene,
    role: TestRole,
    url: String,
}

impl Owned {
    fn new(version: Version, options: &str) -> Owned {
        let scene = Scene::empty(version);
        let role = scene.cluster().role("deploy", "word-of-deploy", options);
        let name = scene.database.name().to_owned();
        scene.cluster().sql("postgres", &format!("ALTER DATABASE {name} OWNER TO {}", role.name()));
        let url = role.url(&scene.database);
        let owned = Owned { scene, role, url };
        owned.sql(SHOP);
        owned.sql(&format!("COMMENT ON DATABASE {name} IS E'of the shop\\nand ours'"));
        owned
    }

    fn sql(&self, text: &str) {
        let mut psql = self.scene.cluster().program("psql");
        let output = psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &self.url, "-c", text]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, status: i32, arguments: &[&str]) -> Output {
        self.scene.run(status, &[arguments, &["--database", &self.url]].concat())
    }

    fn contents(&self) -> Contents {
        Contents::of(self.scene.cluster(), self.scene.database.name())
    }

    /// The comments of the databases of this test: the operator's own, and whatever is left of ours.
    fn comments(&self) -> String {
        let name = self.scene.database.name();
        self.scene.cluster().query(
            "postgres",
            &format!(
                "SELECT DISTINCT shobj_description(oid, 'pg_database') FROM pg_database
                  WHERE starts_with(datname, '{name}') ORDER BY 1"
            ),
        )
    }
}

/// The command that a run names as its way back.
fn way_back(output: &Output) -> Vec<String> {
    let line = output.stdout.lines().find_map(|line| line.trim().strip_prefix("the way back: safe-migrate "));
    line.unwrap_or_else(|| panic!("{}", output.stdout)).split(' ').map(str::to_owned).collect()
}

fn every_promise_is_kept(version: Version, options: &str) {
    let owned = Owned::new(version, options);
    let name = owned.scene.database.name().to_owned();
    owned.scene.project.write_migration(
        "app",
        "0001_prices",
        "-- migrate:up\nUPDATE stock.dish SET price = price * 2;\nALTER TABLE stock.dish ADD COLUMN note text;\n\
         -- migrate:down\nALTER TABLE stock.dish DROP COLUMN note;\nUPDATE stock.dish SET price = price / 2;\n",
    );
    let doctor = owned.run(0, &["doctor"]).stdout;
    assert!(doctor.contains("a restored database can take the place of"), "{doctor}");
    let before = owned.contents();

    // The way back is taken in the words in which it was promised.
    let applied = owned.run(0, &["apply", "--yes"]);
    assert_ne!(owned.contents(), before);
    let command = way_back(&applied);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let planned = owned.scene.databases();
    owned.run(0, &[&command[..], &["--dry-run"]].concat());
    assert_eq!(owned.scene.databases(), planned, "a plan makes nothing");
    let restored = owned.run(0, &[&command[..], &["--yes"]].concat());
    assert_eq!(owned.contents(), before);
    assert_eq!(owned.comments(), "of the shop\nand ours".to_owned() + &kept_comment(&owned), "{}", restored.stderr);

    // And back again, by the run that the restore names.
    let run = restored.stdout.split("--undo ").nth(1).and_then(|rest| rest.split([';', ' ', '\n']).next());
    owned.run(0, &["restore", "--undo", run.unwrap_or_else(|| panic!("{}", restored.stdout)), "--yes"]);
    assert_ne!(owned.contents(), before);
    owned.run(0, &["rollback", "app", "0001", "--yes"]);

    // Beside, and swapped in later.
    let id = command[1];
    owned.sql("DELETE FROM stock.line");
    owned.run(0, &["restore", id, "--yes"]);
    let beside = owned.scene.databases().into_iter().find(|one| one.contains("_restored_")).expect("one beside");
    owned.run(0, &["restore", "--swap", &beside, "--yes"]);
    assert_eq!(owned.contents(), before);

    // One table, and the rows that are missing.
    owned.sql("DELETE FROM stock.line WHERE id % 2 = 0");
    owned.run(0, &["restore", id, "--table", "stock.line", "--mode", "missing", "--yes"]);
    assert_eq!(owned.scene.database.query("SELECT count(*) FROM stock.line"), "2000");

    // A database of its own.
    let other = format!("{name}_other");
    owned.run(0, &["restore", id, "--to", &other, "--yes"]);
    assert_eq!(Contents::of(owned.scene.cluster(), &other), before);
    let own = format!("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{other}'");
    assert_eq!(owned.scene.cluster().query("postgres", &own), owned.role.name());
    let comments = owned.comments();
    assert!(!comments.contains("unfinished") && !comments.contains("proven"), "{comments}");
}

/// The old databases that swaps kept say so in their comments, above the operator's own.
fn kept_comment(owned: &Owned) -> String {
    let kept = owned.comments();
    let kept: Vec<&str> = kept.lines().filter(|line| line.starts_with("safe-migrate mark: kept:")).collect();
    kept.iter().map(|line| format!("\n{line}\nof the shop\nand ours")).collect()
}

#[test]
fn an_owner_that_may_create_databases_keeps_every_promise() {
    every_promise_is_kept(Version::V15, "CREATEDB");
}

#[test]
fn an_owner_that_may_create_databases_and_roles_keeps_every_promise_18() {
    every_promise_is_kept(Version::V18, "CREATEDB CREATEROLE");
}

#[test]
fn an_owner_that_may_not_restore_is_told_before_anything_starts() {
    let owned = Owned::new(Version::V15, "");
    owned.scene.project.write_migration("app", "0001_note", "-- migrate:up\nALTER TABLE stock.dish ADD COLUMN note text;\n-- migrate:down\nALTER TABLE stock.dish DROP COLUMN note;\n");
    let schema = owned.scene.schema();
    for arguments in [&["apply", "--yes"][..], &["apply", "--dry-run"]] {
        let refused = owned.run(3, arguments);
        assert!(refused.stderr.contains("may not create databases"), "{}", refused.stderr);
        assert!(refused.stderr.contains("--accept-no-restore WHY"), "{}", refused.stderr);
    }
    assert_eq!(owned.scene.snapshots(), Vec::<String>::new());
    assert_eq!(owned.scene.schema(), schema);
    let applied = owned.run(0, &["apply", "--yes", "--accept-no-restore", "the provider restores for us"]);
    assert!(applied.stdout.contains("the way back: none for this role"), "{}", applied.stdout);
    let shown = owned.run(0, &["history", "last"]).stdout;
    assert!(shown.contains("no restore by this role: the provider restores for us"), "{shown}");
    // What no ordinary role can restore is found in the snapshot, before production is touched.
    owned.scene.cluster().sql("postgres", &format!("ALTER ROLE {} CREATEDB", owned.role.name()));
    owned.scene.database.sql("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'");
    owned.scene.database.sql("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()");
    owned.scene.project.write_migration("app", "0002_more", "-- migrate:up\nALTER TABLE stock.dish ADD COLUMN more text;\n-- migrate:down\nALTER TABLE stock.dish DROP COLUMN more;\n");
    let drift = ["apply", "--yes", "--accept-drift", "an event trigger"];
    let refused = owned.run(3, &drift);
    assert!(refused.stderr.contains("event trigger") && refused.stderr.contains("way back"), "{}", refused.stderr);
    assert_eq!(owned.scene.applied(), ["app/0001_note"]);
}

/// Whoever may create databases could mark one of theirs as proven, and name it as a restore would.
#[test]
fn a_database_of_somebody_else_is_not_swapped_in_by_its_comment() {
    let owned = Owned::new(Version::V15, "CREATEDB");
    let cluster = owned.scene.cluster();
    let other = cluster.role("other", "word-of-other", "CREATEDB");
    let name = owned.scene.database.name();
    let planted = format!("{name}_restored_20261130t000000z_7f3a9c");
    cluster.sql("postgres", &format!("CREATE DATABASE {planted} OWNER {}", other.name()));
    let mark = format!(
        "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE {planted} IS %L', 'safe-migrate mark: proven:{}:'
            || (SELECT oid FROM pg_database WHERE datname = '{planted}')); END $$",
        "7f".repeat(16)
    );
    cluster.sql("postgres", &mark);
    for run in [
        |owned: &Owned, arguments: &[&str]| owned.run(1, arguments),
        |owned: &Owned, arguments: &[&str]| owned.scene.run(1, arguments),
    ] {
        let refused = run(&owned, &["restore", "--swap", &planted, "--yes"]);
        assert!(refused.stderr.contains("no database that a restore filled and proved"), "{}", refused.stderr);
    }
    // The control: what the owner itself says counts for the owner.
    cluster.sql("postgres", &format!("ALTER DATABASE {planted} OWNER TO {}", owned.role.name()));
    owned.run(0, &["restore", "--swap", &planted, "--yes"]);
}
