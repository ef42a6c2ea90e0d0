//! `import`: another tool's files, order and history. The directories are laid out as the tools' documentation says; Django
//! and Alembic make theirs by themselves.

use crate::exec::django_project::DjangoProject;
use crate::exec::put_on_path;
use crate::support::{Output, Scene, TestCluster, Version};

/// The dishes, by hand, as the tool would have made them; and its own table.
pub(super) const DISH: &str = "CREATE TABLE dish (id bigint PRIMARY KEY, name text NOT NULL)";

pub(super) fn scene(files: &[(&str, &str)]) -> Scene {
    let scene = Scene::empty(Version::V15);
    for (name, text) in files {
        scene.project.write(&format!("theirs/{name}"), text);
    }
    scene
}

pub fn import(scene: &Scene, status: i32, more: &[&str]) -> Output {
    let arguments = [&["import", "--yes"], more].concat();
    let before = scene.schema();
    let output = scene.run(status, &arguments);
    assert_eq!(scene.schema(), before, "nothing of it is run");
    if status != 0 {
        assert!(scene.applied().is_empty(), "{:?}", scene.applied());
        assert!(std::fs::read_dir(scene.project.migrations()).unwrap().next().is_none());
    }
    output
}

#[test]
fn a_dbmate_directory() {
    let up_down = |up: &str, down: &str| format!("-- migrate:up\n{up};\n\n-- migrate:down\n{down};\n");
    let first = up_down(DISH, "DROP TABLE dish");
    let scene = scene(&[
        ("20240101120000_create_dish.sql", &first),
        (
            "20240201120000_Add-Price.sql",
            &up_down("ALTER TABLE dish ADD COLUMN price int", "ALTER TABLE dish DROP COLUMN price"),
        ),
    ]);
    scene.database.sql(&format!(
        "{DISH}; CREATE TABLE schema_migrations (version character varying(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20240101120000')"
    ));
    let dry = import(&scene, 0, &["--from", "dbmate", "theirs", "--dry-run"]);
    insta::assert_snapshot!(dry.stdout, @"
    would take over:
      [X] main/20240101120000_create_dish  <- 20240101120000
      [ ] main/20240201120000_add_price    <- 20240201120000
    ");
    import(&scene, 0, &["--from", "dbmate", "theirs"]);
    let status = scene.run(0, &["status"]);
    assert!(status.stdout.contains("[X] 20240101120000_create_dish"), "{}", status.stdout);
    assert!(status.stdout.contains("[ ] 20240201120000_add_price\n1 applied, 1 pending"), "{}", status.stdout);
    scene.run(0, &["apply", "--yes"]);
    // A second time there is a history.
    let again = scene.run(2, &["import", "--from", "dbmate", "theirs", "--yes"]);
    assert!(again.stderr.contains("has a history"), "{}", again.stderr);
}

#[test]
fn a_dbmate_directory_where_it_is() {
    let scene = scene(&[]);
    scene.project.write(
        "db/migrations/20240101120000_create_dish.sql",
        &format!("-- migrate:up\n{DISH};\n-- migrate:down\nDROP TABLE dish;\n"),
    );
    scene.database.sql(&format!("{DISH}; CREATE TABLE schema_migrations (version text PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20240101120000')"));
    let place = ["--migrations", "db/migrations"];
    scene.run(0, &[&["import", "--from", "dbmate", "db/migrations", "--yes"], &place[..]].concat());
    let status = scene.run(0, &[&["status", "--check"], &place[..]].concat());
    assert!(status.stdout.contains("[X] 20240101120000_create_dish"), "{}", status.stdout);
}

#[test]
fn a_sqlx_directory_with_its_checksums() {
    let text = format!("{DISH};\n");
    let scene = scene(&[
        ("20240101120000_create_dish.up.sql", &text),
        ("20240101120000_create_dish.down.sql", "DROP TABLE dish;\n"),
        ("20240201120000_index.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY by_name ON dish (name);\n"),
    ]);
    let digest = {
        use sha2::Digest;
        hex::encode(sha2::Sha384::digest(text.as_bytes()))
    };
    scene.database.sql(&format!(
        "{DISH}; CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, installed_on timestamptz NOT NULL DEFAULT now(),
           success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL);
         INSERT INTO _sqlx_migrations VALUES (20240101120000, 'create dish', now(), true, decode('{digest}', 'hex'), 7)"
    ));
    import(&scene, 0, &["--from", "sqlx", "theirs", "--app", "menu"]);
    let status = scene.run(0, &["status", "menu"]);
    assert!(status.stdout.contains("[X] 20240101120000_create_dish"), "{}", status.stdout);
    scene.run(0, &["apply", "--yes"]);
    // Another text than the one that was applied, and one that failed.
    let other = self::scene(&[("20240101120000_create_dish.up.sql", &format!("{DISH}; -- changed\n"))]);
    other.database.sql(&format!(
        "{DISH}; CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, success boolean NOT NULL, checksum bytea NOT NULL);
         INSERT INTO _sqlx_migrations VALUES (20240101120000, true, decode('{digest}', 'hex'))"
    ));
    let changed = import(&other, 2, &["--from", "sqlx", "theirs"]);
    assert!(changed.stderr.contains("the file changed since sqlx applied it"), "{}", changed.stderr);
    other.database.sql("UPDATE _sqlx_migrations SET success = false");
    let failed = import(&other, 2, &["--from", "sqlx", "theirs"]);
    assert!(failed.stderr.contains("sqlx's own table says of 20240101120000: it failed"), "{}", failed.stderr);
}

#[test]
fn a_golang_migrate_directory() {
    let scene = scene(&[
        ("000001_create_dish.up.sql", &format!("BEGIN;\n{DISH};\nCOMMIT;\n")),
        ("000001_create_dish.down.sql", "DROP TABLE dish;\n"),
        ("000002_price.up.sql", "ALTER TABLE dish ADD COLUMN price int;\n"),
        ("000003_index.up.sql", "CREATE INDEX CONCURRENTLY by_price ON dish (price);\n"),
    ]);
    scene.database.sql(&format!(
        "{DISH}; ALTER TABLE dish ADD COLUMN price int; CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);
         INSERT INTO schema_migrations VALUES (2, false)"
    ));
    import(&scene, 0, &["--from", "golang-migrate", "theirs"]);
    let status = scene.run(0, &["status"]).stdout;
    assert!(status.contains("[X] 000001_create_dish") && status.contains("[X] 000002_price"), "{status}");
    assert!(status.contains("[ ] 000003_index"), "{status}");
    scene.run(0, &["apply", "--yes"]);
    let dirty = self::scene(&[("000001_create_dish.up.sql", DISH)]);
    dirty.database.sql("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, true)");
    let output = import(&dirty, 2, &["--from", "golang-migrate", "theirs"]);
    assert!(output.stderr.contains("golang-migrate's own table says of 1: it is marked dirty"), "{}", output.stderr);
    dirty.database.sql("DELETE FROM schema_migrations");
    dirty.project.write("named/V2-Create dish-UP.sql", DISH);
    let pattern = ["named", "--pattern", "V{version}-{name}-{direction}.sql"];
    let output = import(&dirty, 2, &[&["--from", "sqlx"][..], &pattern].concat());
    assert!(output.stderr.contains("--pattern is for --from golang-migrate"), "{}", output.stderr);
    let output = import(&dirty, 0, &[&["--from", "golang-migrate"][..], &pattern].concat());
    assert!(output.stdout.contains("[ ] main/0002_create_dish  <- 2"), "{}", output.stdout);
}

#[test]
fn a_flyway_directory_names_what_has_no_sql() {
    let scene = scene(&[
        ("V1__Create_dish.sql", &format!("{DISH};\n")),
        ("V1.1__Names.sql", "ALTER TABLE dish ADD COLUMN slug text;\n"),
        ("U1.1__Names.sql", "ALTER TABLE dish DROP COLUMN slug;\n"),
        ("V2__Fill.java", "public class V2__Fill {}"),
        ("R__views.sql", "CREATE OR REPLACE VIEW names AS SELECT name FROM dish;\n"),
    ]);
    scene.database.sql(&format!(
        "{DISH}; ALTER TABLE dish ADD COLUMN slug text;
         CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), description varchar(200) NOT NULL, type varchar(20) NOT NULL,
           script varchar(1000) NOT NULL, checksum int, installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL, success boolean NOT NULL);
         INSERT INTO flyway_schema_history VALUES (1, '1', 'Create dish', 'SQL', 'V1__Create_dish.sql', 1, 'x', now(), 1, true),
           (2, '1.1', 'Names', 'SQL', 'V1.1__Names.sql', 2, 'x', now(), 1, true)"
    ));
    let output = import(&scene, 0, &["--from", "flyway", "theirs", "--app", "shop"]);
    assert!(output.stderr.contains("shop/0003_fill has no SQL for: V2__Fill.java: a Java migration (it is pending, and no run goes on before it is there)"), "{}", output.stderr);
    let status = scene.run(0, &["status"]).stdout;
    assert!(status.contains("[X] 0001_create_dish") && status.contains("[X] 0002_names"), "{status}");
    assert!(status.contains("[ ] 0003_fill\n  [ ] 0004_views"), "{status}");
    let stopped = scene.run(3, &["apply", "--yes"]);
    assert!(
        stopped.stderr.contains("V2__Fill.java: a Java migration was not carried over [not-carried-over]"),
        "{}",
        stopped.stderr
    );
    scene.project.write_migration(
        "shop",
        "0003_fill",
        "-- migrate:up\nUPDATE dish SET slug = lower(name);\n-- migrate:down\n",
    );
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn a_directory_that_is_broken_is_named_by_file() {
    for (files, from, part) in [
        (&[][..], "flyway", "there is no directory"),
        (&[("notes.txt", "")], "flyway", "holds no migration as flyway names them: V1__name.sql"),
        (
            &[("V1__a.sql", "SELECT 1;"), ("V1.0__b.sql", "SELECT 2;")],
            "flyway",
            "theirs/V1.0__b.sql and theirs/V1__a.sql: the same version",
        ),
        (&[("first.sql", "SELECT 1;")], "sqlx", "first.sql: no name of a sqlx migration"),
        (&[("1_a.down.sql", "SELECT 1;")], "golang-migrate", "a way back, and there is no file that it undoes"),
        (&[("1_a.sql", "SELECT 1;")], "dbmate", "there is no `-- migrate:up` line"),
        (&[("V1__a.sql", "COPY t FROM stdin;\n1\n\\.\n")], "flyway", "Imported from flyway: V1__a.sql: "),
        (&[("V1__a.sql", "BEGIN; SELECT 1; COMMIT; SELECT 2;")], "flyway", "begins and ends its transactions itself"),
    ] {
        let scene = scene(files);
        let output = import(&scene, 2, &["--from", from, "theirs"]);
        assert!(output.stderr.contains(part), "{from}: {}", output.stderr);
        assert!(output.stderr.contains("hint: "), "{from}: {}", output.stderr);
    }
}

#[test]
fn a_history_that_does_not_fit_is_refused() {
    let files = [("V1__a.sql", "CREATE TABLE a (i int);"), ("V2__b.sql", "CREATE TABLE b (i int);")];
    let table = "CREATE TABLE flyway_schema_history (installed_rank int, version text, type text DEFAULT 'SQL', script text DEFAULT '', success boolean DEFAULT true)";
    let scene = scene(&files);
    scene.database.sql(&format!("{table}; CREATE TABLE b (i int); INSERT INTO flyway_schema_history VALUES (1, '2')"));
    let gap = import(&scene, 2, &["--from", "flyway", "theirs"]);
    assert!(
        gap.stderr.contains("main/0002_b is applied, and main/0001_a, which comes before it, is not"),
        "{}",
        gap.stderr
    );
    scene.database.sql("INSERT INTO flyway_schema_history VALUES (2, '1'), (3, '3')");
    let gone = import(&scene, 2, &["--from", "flyway", "theirs"]);
    assert!(gone.stderr.contains("flyway's table has 3 as applied, and there is no file of it"), "{}", gone.stderr);
    scene.database.sql("INSERT INTO flyway_schema_history VALUES (4, NULL, 'SQL', NULL)");
    let nameless = import(&scene, 2, &["--from", "flyway", "theirs"]);
    assert!(nameless.stderr.contains("flyway's own table says of a row: it names no migration"), "{}", nameless.stderr);
    scene.database.sql("DELETE FROM flyway_schema_history WHERE installed_rank > 2; CREATE TABLE a (i bigint)");
    let other = import(&scene, 3, &["--from", "flyway", "theirs"]);
    assert!(
        other.stderr.contains("production is not what the applied ones build (- built, + production):"),
        "{}",
        other.stderr
    );
    assert!(other.stderr.contains("-     i integer") && other.stderr.contains("+     i bigint"), "{}", other.stderr);
    let accepted = import(&scene, 0, &["--from", "flyway", "theirs", "--accept-drift", "made wider by hand"]);
    assert!(
        accepted.stdout.contains("2 migrations taken over, 2 of them as applied; none was run"),
        "{}",
        accepted.stdout
    );
}

#[test]
fn a_django_project_with_its_contrib_apps() {
    let project = DjangoProject::on(&TestCluster::shared(Version::V15));
    let body = "def fill(apps, schema_editor):\n    pass\n\nclass Migration(migrations.Migration):\n    dependencies = [('menu', '0001_initial')]\n    operations = [migrations.RunPython(fill, migrations.RunPython.noop), migrations.AddField('item', 'slug', models.CharField(max_length=40, null=True))]\n";
    std::fs::write(
        project.directory().join("menu/migrations/0002_slugs.py"),
        format!("from django.db import migrations, models\n\n{body}"),
    )
    .unwrap();
    assert_eq!(project.manage(&["migrate", "-v0"]).status, 0);
    std::fs::write(
        project.directory().join("menu/migrations/0003_short.py"),
        "from django.db import migrations, models\n\nclass Migration(migrations.Migration):\n    dependencies = [('menu', '0002_slugs')]\n    operations = [migrations.AddField('item', 'short', models.CharField(max_length=9, null=True))]\n",
    )
    .unwrap();
    let scene = &project.scene;
    let output = scene.run(0, &["import", "--from", "django", "site", "--yes"]);
    assert!(
        output.stderr.contains("menu/0002_slugs has no SQL for: ")
            && output.stderr.contains("it is applied, so only a new database misses it"),
        "{}",
        output.stderr
    );
    // It agrees with Django.
    let listed = project.manage(&["showmigrations", "--plan"]).stdout;
    let status = scene.run(0, &["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let mut count = 0;
    for line in listed.lines() {
        let (mark, name) = line.split_at(3);
        let (app, name) = name.trim().split_once('.').unwrap();
        let ours = status["apps"][app].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(ours["state"], if mark == "[X]" { "applied" } else { "pending" }, "{line}");
        count += 1;
    }
    assert!(count > 20, "{count}");
    assert_eq!(status["pending"], 1);
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(
        scene.database.query(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'menu_item' AND column_name = 'short'"
        ),
        "1"
    );
}

#[test]
fn an_alembic_directory() {
    let mut scene = Scene::on(&TestCluster::shared(Version::V15));
    put_on_path(&mut scene);
    scene.project.write("alembic.ini", "[alembic]\nscript_location = %(here)s/steps\n");
    scene.project.write(
        "steps/env.py",
        "import os\nfrom alembic import context\nfrom sqlalchemy import create_engine\nurl = os.environ['DATABASE_URL'].replace('postgresql://', 'postgresql+psycopg://')\n\
         if context.is_offline_mode():\n    context.configure(url=url, literal_binds=True)\n    with context.begin_transaction():\n        context.run_migrations()\n\
         else:\n    with create_engine(url).connect() as connection:\n        context.configure(connection=connection)\n        with context.begin_transaction():\n            context.run_migrations()\n",
    );
    scene.project.write("steps/script.py.mako", "");
    let step = |revision: &str, down: &str, message: &str, up: &str, back: &str| {
        let text = format!(
            "\"\"\"{message}\"\"\"\nfrom alembic import op\nimport sqlalchemy as sa\nrevision = '{revision}'\ndown_revision = {down}\n\ndef upgrade():\n    {up}\n\ndef downgrade():\n    {back}\n"
        );
        scene.project.write(&format!("steps/versions/{revision}.py"), &text);
    };
    step(
        "1975ea83b712",
        "None",
        "dish",
        "op.create_table('dish', sa.Column('id', sa.Integer, primary_key=True), sa.Column('name', sa.Text))",
        "op.drop_table('dish')",
    );
    step(
        "ae1027a6acf0",
        "'1975ea83b712'",
        "price",
        "op.add_column('dish', sa.Column('price', sa.Integer))",
        "op.drop_column('dish', 'price')",
    );
    let url = scene.database.url();
    let mut alembic = crate::support::clean_command(std::env::var_os("SAFE_MIGRATE_TEST_PYTHON").unwrap());
    let upgraded = alembic
        .args(["-m", "alembic", "upgrade", "1975ea83b712"])
        .current_dir(scene.project.directory())
        .env("DATABASE_URL", url);
    assert_eq!(crate::support::Project::output_of(upgraded).status, 0);
    scene.run(0, &["import", "--from", "alembic", ".", "--app", "shop", "--yes"]);
    let status = scene.run(0, &["status"]).stdout;
    assert!(status.contains("[X] 0001_dish") && status.contains("[ ] 0002_price"), "{status}");
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &["rollback", "shop", "0001", "--yes"]);
    // What asks the database has no SQL, and offline mode does not print what it would do.
    step("b0b0b0b0b0b0", "'ae1027a6acf0'", "fill", "op.get_bind().execute(sa.text('SELECT 1')).scalar()", "pass");
    let other = scene.cluster().database();
    let url = other.url();
    let arguments =
        ["import", "--from", "alembic", ".", "--app", "shop", "--yes", "--migrations", "elsewhere", "--database", &url];
    let output = scene.run(2, &arguments);
    assert!(
        output.stderr.contains("a revision that asks the database (op.get_bind()) has no SQL"),
        "{}",
        output.stderr
    );
}
