//! A squashed migration of Django's whose originals are gone, with each of the four things that its table may hold. What
//! Django itself says of it is the oracle.

use super::django_project::DjangoProject;
use crate::support::{TestCluster, Version};

const NOTE: &str =
    "    operations = [migrations.AddField('ticket', 'note', models.CharField(max_length=20, null=True))]";
const ORIGINALS: [&str; 2] = ["0001_initial", "0002_note"];

/// Two apps of which one stands on nothing of the other; both migrations of `support` are applied, then squashed.
fn squashed() -> (DjangoProject, String) {
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    django.scene.project.configure_more("[exec]\ndjango = [\"python\", \"site/manage.py\"]\n");
    django.migration("support", "0002_note", "0001_initial", NOTE);
    django.begin_migrated();
    let name = django.squash("support", &ORIGINALS);
    (django, name)
}

#[test]
fn exec_django_squashed_is_listed_as_django_lists_it() {
    let (django, name) = squashed();
    let listed = || {
        let status = django.scene.run(0, &["status", "--django", "support"]);
        let stock = django.manage(&["showmigrations", "support"]).stdout;
        let plan = django.manage(&["showmigrations", "--plan"]).stdout;
        (stock, plan, status)
    };
    // What is applied, and Django's mark for it in both of its lists.
    let recorded = [name.as_str()];
    let both = [ORIGINALS[0], ORIGINALS[1], &name];
    let cases: [(&[&str], &str, &str); 3] = [(&ORIGINALS, "-", "X"), (&recorded, " ", " "), (&both, "X", "X")];
    for (rows, mark, in_plan) in cases {
        django.record("support", rows);
        let (stock, plan, status) = listed();
        assert!(stock.contains(&format!(" [{mark}] {name} (2 squashed migrations)")), "{rows:?}: {stock}");
        assert!(plan.contains(&format!("[{in_plan}]  support.{name}\n")), "{rows:?}: {plan}");
        assert!(status.stdout.starts_with(&format!("support\n [{mark}] {name}")), "{rows:?}: {}", status.stdout);
        let warned = status.stderr.contains("does not count it as applied");
        assert_eq!(warned, rows == recorded, "{rows:?}: {}", status.stderr);
    }
    django.record("support", &ORIGINALS[..1]);
    let (stock, plan, status) = listed();
    assert_eq!(stock, "support\n (no migrations)\n");
    assert!(!plan.contains("support."), "{plan}");
    let words = format!("support.{name} replaces 0001_initial, 0002_note, and only 0001_initial is applied");
    assert!(status.stderr.contains(&words), "{}", status.stderr);
    let migrated = django.exec(0, &[], &["migrate"]);
    assert!(migrated.stderr.contains(&words) && migrated.stdout.contains("nothing is pending"), "{}", migrated.stderr);
}

/// Stock `migrate` records it, though it has nothing to run: without that, the day its `replaces` goes it is run again.
#[test]
fn exec_django_records_a_squashed_migration() {
    let (django, name) = squashed();
    let done = django.exec(0, &[], &["migrate"]);
    assert!(done.stdout.contains("the command went through"), "{}", done.stdout);
    assert!(done.stdout.contains(&format!("support.{name} recorded")), "{}", done.stdout);
    assert!(django.applied().contains(&format!("support.{name}")), "{:?}", django.applied());
    let again = django.exec(0, &[], &["migrate"]);
    assert!(again.stdout.contains("nothing is pending; no snapshot was taken"), "{}", again.stdout);
    let path = django.directory().join(format!("support/migrations/{name}.py"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("replaces = ").unwrap();
    let (_, rest) = rest.split_once(']').unwrap();
    std::fs::write(&path, format!("{head}run_before = []{rest}")).unwrap();
    assert_eq!(django.manage(&["migrate", "--check"]).status, 0);
}

/// Where a migration stands on a replaced one whose file is gone, `sqlmigrate` itself prints nothing.
#[test]
fn exec_django_lints_what_stands_on_a_replaced_migration() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    django.only(&["menu", "reviews"]);
    let slug = "    operations = [migrations.AddField('item', 'slug', models.CharField(max_length=40, null=True))]";
    django.migration("menu", "0002_slug", "0001_initial", slug);
    django.begin_migrated();
    django.squash("menu", &["0001_initial", "0002_slug"]);
    let index = "    operations = [migrations.AddIndex('review', models.Index(fields=['stars'], name='review_stars'))]";
    django.migration("reviews", "0002_stars", "0001_initial", index);
    assert_ne!(django.manage(&["sqlmigrate", "reviews", "0002"]).status, 0);
    let done = django.exec(0, &[], &["migrate"]);
    assert!(done.stderr.contains("reviews/migrations/0002_stars.py: "), "{}", done.stderr);
    assert!(done.stderr.contains("[index-not-concurrent]"), "{}", done.stderr);
}
