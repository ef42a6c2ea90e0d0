//! A wrapped command that is stopped in production.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::django_project::DjangoProject;
use crate::support::{TestCluster, Version};

/// Changes rows, then sleeps in production and not on the shadow, whose address is a directory.
const SLEEPS: &str = "import os
def change(apps, editor):
    apps.get_model('menu', 'Item').objects.update(price=1)
    if not os.environ['DB_HOST'].startswith('/'):
        editor.execute('SELECT pg_sleep(600)')

---
    operations = [migrations.RunPython(change, migrations.RunPython.noop)]";

const FAILS: &str = "import os
def change(apps, editor):
    if not os.environ['DB_HOST'].startswith('/'):
        raise RuntimeError('only here')

---
    atomic = False
    operations = [
        migrations.AddField('item', 'half', models.IntegerField(null=True)),
        migrations.RunPython(change, migrations.RunPython.noop),
    ]";

fn project() -> DjangoProject {
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    django.begin_migrated();
    django.fill();
    django
}

/// A run that sleeps in production.
fn asleep(django: &DjangoProject) -> Child {
    django.migration("menu", "0002_sleeps", "0001_initial", SLEEPS);
    let arguments = ["exec", "--dir", "site", "--yes", "--", "python", "manage.py", "migrate"];
    let mut command = django.scene.project.command(&arguments);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    while sleeping(django) == "0" {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never ran in production");
        std::thread::sleep(Duration::from_millis(50));
    }
    run
}

fn sleeping(django: &DjangoProject) -> String {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    django.scene.database.query(sql)
}

/// Nothing of the migration is left, and the next run goes through.
fn goes_on(django: &DjangoProject) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    while sleeping(django) != "0" {
        assert!(Instant::now() < deadline, "the command outlived its run");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(django.scene.database.query("SELECT count(*) FROM menu_item WHERE price = 1"), "0");
    django.migration("menu", "0002_sleeps", "0001_initial", "    operations = []");
    django.exec(0, &[], &["migrate"]).stderr
}

#[test]
fn exec_interrupted_in_production_says_what_is_applied() {
    let django = project();
    let run = asleep(&django);
    assert!(std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("production: its schema is as it was, and Django's table says that nothing was applied"),
        "{words}"
    );
    assert_eq!(output.status.code(), Some(130), "{words}");
    goes_on(&django);
}

#[test]
fn exec_killed_in_production_takes_its_command_with_it() {
    let django = project();
    let mut run = asleep(&django);
    run.kill().unwrap();
    run.wait().unwrap();
    let words = goes_on(&django);
    assert!(words.contains("never ended: its lock is free"), "{words}");
}

#[test]
fn exec_that_fails_half_way_in_production_says_so() {
    let django = project();
    django.migration("menu", "0002_half", "0001_initial", FAILS);
    let output = django.exec(4, &[], &["migrate"]);
    assert!(output.stderr.contains("RuntimeError: only here"), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("production: its schema is not as it was, and Django's table says that nothing was applied"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("the way back is: safe-migrate restore 2"), "{}", output.stderr);
    let id = output.stderr.split("safe-migrate restore ").nth(1).unwrap().split(' ').next().unwrap();
    django.scene.run(0, &["restore", id, "--in-place", "--yes"]);
    assert!(!django.scene.schema().contains("half"));
}
