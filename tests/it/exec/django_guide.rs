//! `scripts/django-guide`: a Django team's page of commands, row by row, on django-allauth from PyPI.

use std::path::Path;

use super::python;
use crate::support::{Project, Scene, ShadowDirectory, TestCluster, Version, binary, clean_command, is_long};

const README: &str = include_str!("../../../README.md");

/// Runs the guide where nothing else is made, and gives the table that it ends with.
fn table(options: &[&str]) -> String {
    let scene = Scene::on(&TestCluster::shared(Version::V15));
    let directory = ShadowDirectory::of(&scene.project);
    let mut command = clean_command(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/django-guide"));
    command.arg("--program").arg(binary()).arg("--python").arg(python());
    command.arg("--postgresql").arg(scene.cluster().bin_dir()).args(options).env("TMPDIR", directory.path());
    let output = Project::output_of(&mut command);
    assert_eq!(output.status, 0, "{}\n{}", output.stdout, output.stderr);
    directory.must_become_empty();
    let (_, table) = output.stdout.split_once("\nAll rows hold. As a table:\n\n").unwrap();
    table.to_owned()
}

#[test]
fn exec_django_guide_on_a_project_from_pypi() {
    if is_long() {
        let table = table(&[]);
        assert!(README.contains(&format!("\n\n{table}\n")), "README has another table than:\n{table}");
        return;
    }
    let table = table(&["--short"]);
    assert!(table.lines().count() > 9, "{table}");
    for row in table.lines() {
        assert!(README.contains(&format!("\n{row}\n")), "README has no row {row}");
    }
}

#[test]
fn exec_django_guide_after_the_import() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    let table = table(&["--native"]);
    assert!(README.contains(&format!("\n\n{table}\n")), "README has another table than:\n{table}");
}
