//! `make`: the migrations that lead from what the migrations build to what `schema.sql` wishes for.

mod bad_input;
mod between_apps;
mod cli;
mod kept;
mod pairs;
mod random;
mod ten_apps;

use crate::support::{Scene, dump_and_restore};

/// The schema of a database after one dump and restore, line by line without the order: columns and statements may stand in
/// another one.
fn normal_lines(scene: &Scene, database: &str) -> Vec<String> {
    let copy = format!("{database}_normal");
    dump_and_restore(scene.cluster(), database, &copy);
    let mut lines: Vec<String> =
        scene.schema_of(&copy).lines().map(|line| line.trim().trim_end_matches(',').to_owned()).collect();
    scene.cluster().sql("postgres", &format!("DROP DATABASE {copy}"));
    lines.retain(|line| !line.is_empty() && !line.starts_with("--"));
    lines.sort();
    lines
}

/// Fails when the production database is not what these statements build.
#[track_caller]
fn assert_built(scene: &Scene, statements: &str) {
    let wished = format!("{}_wished", scene.database.name());
    scene.cluster().sql("postgres", &format!("CREATE DATABASE {wished}"));
    scene.cluster().sql(&wished, &format!("SET check_function_bodies = off;\n{statements}"));
    let (built, wanted) = (normal_lines(scene, scene.database.name()), normal_lines(scene, &wished));
    scene.cluster().sql("postgres", &format!("DROP DATABASE {wished}"));
    let only =
        |one: &[String], other: &[String]| one.iter().filter(|line| !other.contains(line)).cloned().collect::<Vec<_>>();
    assert_eq!(built, wanted, "only built: {:#?}\nonly wished: {:#?}", only(&built, &wanted), only(&wanted, &built));
}
