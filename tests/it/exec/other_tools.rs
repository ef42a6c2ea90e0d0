//! Alembic and Knex.

use super::{node_tools, put_on_path};
use crate::support::{Scene, TestCluster, Version};

const ALEMBIC_INI: &str = "[alembic]\nscript_location = %(here)s/steps\n";
const ALEMBIC_ENV: &str = "import os
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(os.environ['DATABASE_URL'].replace('postgresql://', 'postgresql+psycopg://'))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
";

fn alembic_step(scene: &Scene, revision: &str, down: &str, up: &str, back: &str) {
    let text = format!(
        "from alembic import op\nimport sqlalchemy as sa\nrevision = '{revision}'\ndown_revision = {down}\n\ndef upgrade():\n    \
         {up}\n\ndef downgrade():\n    {back}\n"
    );
    scene.project.write(&format!("steps/versions/{revision}.py"), &text);
}

fn alembic(version: Version) {
    let mut scene = Scene::on(&TestCluster::shared(version));
    put_on_path(&mut scene);
    scene.project.configure_more("[exec]\nprobe = [\"python\", \"-m\", \"alembic\", \"current\"]\n");
    scene.project.write("alembic.ini", ALEMBIC_INI);
    scene.project.write("steps/env.py", ALEMBIC_ENV);
    scene.project.write("steps/script.py.mako", "");
    let dish = "op.create_table('dish', sa.Column('id', sa.Integer, primary_key=True), sa.Column('name', sa.Text))";
    alembic_step(&scene, "0001", "None", dish, "op.drop_table('dish')");
    let upgrade = ["exec", "--yes", "--", "python", "-m", "alembic", "upgrade", "head"];
    let done = scene.run(0, &upgrade).stdout;
    assert!(done.contains("schema equal to the rehearsed one"), "{done}");
    scene.database.sql("INSERT INTO dish (name) VALUES ('ugali'), ('ugali')");

    alembic_step(&scene, "0002", "'0001'", "op.add_column('dish', sa.Column('price', sa.Integer))", "pass");
    scene.run(0, &upgrade);
    assert_eq!(scene.database.query("SELECT version_num FROM alembic_version"), "0002");
    let schema = scene.schema();
    alembic_step(&scene, "0003", "'0002'", "op.create_unique_constraint('one_name', 'dish', ['name'])", "pass");
    let bad = scene.run(3, &upgrade).stderr;
    assert!(bad.contains("could not create unique index \"one_name\""), "{bad}");
    assert!(bad.contains("production: unchanged"), "{bad}");
    assert_eq!(scene.schema(), schema);
    assert_eq!(scene.database.query("SELECT version_num FROM alembic_version"), "0002");
}

#[test]
fn exec_alembic() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    alembic(Version::V15);
}

#[test]
fn exec_alembic_18() {
    alembic(Version::V18);
}

fn knex_step(scene: &Scene, name: &str, up: &str, down: &str) {
    let text = format!("exports.up = (knex) => {up};\nexports.down = (knex) => {down};\n");
    scene.project.write(&format!("migrations-knex/{name}.js"), &text);
}

#[test]
fn exec_knex() {
    let mut scene = Scene::on(&TestCluster::shared(Version::V15));
    put_on_path(&mut scene);
    scene.project.configure_more("[exec]\nprobe = [\"knex\", \"migrate:currentVersion\"]\n");
    // As `npm install` leaves it.
    std::os::unix::fs::symlink(node_tools().join("node_modules"), scene.project.directory().join("node_modules"))
        .unwrap();
    scene.project.write(
        "knexfile.js",
        "module.exports = { client: 'pg', connection: process.env.DATABASE_URL, migrations: { directory: './migrations-knex' } };\n",
    );
    let dish = "knex.schema.createTable('dish', (table) => { table.increments('id'); table.text('name'); })";
    knex_step(&scene, "0001_dish", dish, "knex.schema.dropTable('dish')");
    let latest = ["exec", "--yes", "--", "knex", "migrate:latest"];
    let done = scene.run(0, &latest).stdout;
    assert!(done.contains("schema equal to the rehearsed one"), "{done}");
    scene.database.sql("INSERT INTO dish (name) VALUES ('ugali'), ('ugali')");
    let price = "knex.schema.alterTable('dish', (table) => { table.integer('price'); })";
    knex_step(&scene, "0002_price", price, "Promise.resolve()");
    scene.run(0, &latest);
    let schema = scene.schema();
    let unique = "knex.schema.alterTable('dish', (table) => { table.unique('name'); })";
    knex_step(&scene, "0003_unique", unique, "Promise.resolve()");
    let bad = scene.run(3, &latest).stderr;
    assert!(bad.contains("could not create unique index"), "{bad}");
    assert_eq!(scene.schema(), schema);
    assert_eq!(scene.database.query("SELECT count(*) FROM knex_migrations"), "2");
}

/// No wrapper is needed: the files are ours as they are.
#[test]
fn a_dbmate_directory_is_run_by_our_own_engine() {
    let scene = Scene::on(&TestCluster::shared(Version::V15));
    let write = |name: &str, up: &str, down: &str| {
        scene
            .project
            .write(&format!("db/migrations/{name}.sql"), &format!("-- migrate:up\n{up}\n\n-- migrate:down\n{down}\n"));
    };
    write("20240101120000_dish", "CREATE TABLE dish (id serial PRIMARY KEY, name text);", "DROP TABLE dish;");
    let apply = ["--migrations", "db/migrations", "apply", "--yes"];
    scene.run(0, &apply);
    scene.database.sql("INSERT INTO dish (name) VALUES ('ugali'), ('ugali')");
    write("20240201120000_price", "ALTER TABLE dish ADD price int;", "ALTER TABLE dish DROP price;");
    scene.run(0, &apply);
    assert_eq!(scene.applied(), ["main/20240101120000_dish", "main/20240201120000_price"]);
    write(
        "20240301120000_one",
        "ALTER TABLE dish ADD UNIQUE (name);",
        "ALTER TABLE dish DROP CONSTRAINT dish_name_key;",
    );
    let bad = scene.run(3, &apply).stderr;
    assert!(bad.contains("production: unchanged"), "{bad}");
    assert_eq!(scene.applied().len(), 2);
    std::fs::remove_file(scene.project.directory().join("db/migrations/20240301120000_one.sql")).unwrap();
    scene.run(0, &["--migrations", "db/migrations", "rollback", "main", "20240101120000", "--yes"]);
    assert_eq!(scene.applied(), ["main/20240101120000_dish"]);
}
