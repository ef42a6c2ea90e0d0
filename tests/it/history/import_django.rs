//! `import --from django`: squashed migrations, and operations that do nothing.

use super::import::import;
use crate::exec::django_project::DjangoProject;
use crate::support::{TestCluster, Version};

/// Its originals are gone, and another app still stands on one of them.
#[test]
fn a_django_project_with_a_squashed_migration() {
    let project = DjangoProject::on(&TestCluster::shared(Version::V15));
    project.only(&["menu", "reviews"]);
    let slug = "    operations = [migrations.AddField('item', 'slug', models.CharField(max_length=40, null=True))]";
    project.migration("menu", "0002_slug", "0001_initial", slug);
    project.begin_migrated();
    let originals = ["0001_initial", "0002_slug"];
    let name = project.squash("menu", &originals);
    let dry = ["--from", "django", "site", "--dry-run"];
    let all = format!("  [X] menu/{name}  <- {name}\n  [X] reviews/0001_initial          <- 0001_initial\n");
    let both = [originals[0], originals[1], &name];
    for rows in [&originals[..], &both, &[&name]] {
        project.record("menu", rows);
        let output = import(&project.scene, 0, &dry);
        assert_eq!(output.stdout, format!("would take over:\n{all}"), "{rows:?}");
        // Django would run it again, but it is there: production is what it builds.
        let warned = output.stderr.contains("Django itself does not count it as applied");
        assert_eq!(warned, rows.len() == 1, "{rows:?}: {}", output.stderr);
    }
    project.record("menu", &originals[1..]);
    let partly = import(&project.scene, 2, &dry);
    let words = format!("menu.{name} replaces 0001_initial, 0002_slug, and only 0002_slug is applied");
    assert!(partly.stderr.contains(&words), "{}", partly.stderr);
    // A name that nothing replaces is still one without a file.
    project.record("menu", &["0001_initial", "0002_slug", "0009_gone"]);
    let gone = import(&project.scene, 2, &dry);
    assert!(gone.stderr.contains("django's table has menu.0009_gone as applied"), "{}", gone.stderr);
}

/// What does nothing has nothing to be carried over; where it does something one way, or within another, that is said.
#[test]
fn a_django_project_with_operations_that_do_nothing() {
    let project = DjangoProject::on(&TestCluster::shared(Version::V15));
    project.only(&["menu"]);
    let fill = "def fill(apps, schema_editor):\n    apps.get_model('menu', 'Category').objects.get_or_create(slug='x')\n\n---\n";
    let mut last = "0001_initial";
    for (name, operations) in [
        ("0002_noop", "migrations.RunPython(noop, noop)"),
        ("0003_no_way_back", "migrations.RunPython(noop), migrations.RunPython(noop, noop)"),
        ("0004_back", "migrations.RunPython(noop, fill)"),
        ("0005_fill", "migrations.RunPython(fill, noop)"),
        ("0006_within", "migrations.SeparateDatabaseAndState([migrations.RunPython(fill, noop)], [])"),
    ] {
        let operations = operations.replace("noop", "migrations.RunPython.noop");
        project.migration("menu", name, last, &format!("{fill}    operations = [{operations}]"));
        last = name;
    }
    let scene = &project.scene;
    let output = import(scene, 0, &["--from", "django", "site"]);
    let text =
        |name: &str| std::fs::read_to_string(scene.project.migrations().join(format!("menu/{name}.sql"))).unwrap();
    for (name, is_carried, has_way_back) in [
        ("0002_noop", true, true),
        ("0003_no_way_back", true, false),
        ("0004_back", false, true),
        ("0005_fill", false, true),
        ("0006_within", false, true),
    ] {
        let text = text(name);
        assert_eq!(!text.contains("-- not-carried: "), is_carried, "{text}");
        assert_eq!(text.contains("-- migrate:down"), has_way_back, "{text}");
        assert_eq!(!output.stderr.contains(&format!("menu/{name} has no SQL for: ")), is_carried, "{}", output.stderr);
    }
    // Nothing of it stops a run.
    scene.run(
        0,
        &["apply", "menu", "0003", "--yes", "--skip-rehearsal", "it is about lint", "--skip-snapshot", "so is this"],
    );
    let stopped = scene.run(3, &["lint"]);
    let found = format!("{}{}", stopped.stdout, stopped.stderr);
    assert_eq!(found.matches("[not-carried-over]").count(), 3, "{found}");
}
