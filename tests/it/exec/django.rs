//! Django's `migrate`, from nothing to a disaster and back.

use super::django_project::DjangoProject;
use super::strangers;
use crate::support::{TestCluster, Version};

const NOTE: &str = "    operations = [migrations.AddField('item', 'note', models.CharField(max_length=20, null=True)),
        migrations.AddIndex('item', models.Index(fields=['price'], name='item_price'))]";
const UNIQUE: &str =
    "    operations = [migrations.AlterField('item', 'name', models.CharField(max_length=120, unique=True))]";
/// Gives each item a note, and takes it away.
const NOTES: &str = "def fill(apps, editor):
    apps.get_model('menu', 'Item').objects.filter(note=None).update(note='as always')

def empty(apps, editor):
    apps.get_model('menu', 'Item').objects.filter(note='as always').update(note=None)

---
    operations = [migrations.RunPython(fill, empty)]";
/// Makes a category, within another operation: `sqlmigrate` runs it.
const WITHIN: &str = "def fill(apps, editor):
    apps.get_model('menu', 'Category').objects.create(slug='within')

---
    operations = [migrations.SeparateDatabaseAndState([migrations.RunPython(fill, migrations.RunPython.noop)], []),
        migrations.AddField('item', 'within', models.IntegerField(null=True))]";
/// A way back that leads elsewhere.
const LOWERED: &str = "def lower_prices(apps, editor):
    apps.get_model('menu', 'Item').objects.update(price=models.F('price') - 100)

---
    operations = [migrations.RunPython(lower_prices, migrations.RunPython.noop)]";
/// No way back.
const RAISED: &str = "def raise_prices(apps, editor):
    apps.get_model('menu', 'Item').objects.update(price=models.F('price') + 100)

---
    operations = [migrations.RunPython(raise_prices)]";

#[test]
fn exec_django_from_nothing_to_a_disaster_and_back() {
    // In the short form the guide asks the same, on a project from PyPI.
    if crate::support::only_in_the_long_form() {
        return;
    }
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    let scene = &django.scene;
    let permissions = "SELECT count(*) FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
                        WHERE c.app_label = 'menu'";

    let first = django.exec(0, &["--django"], &["migrate"]);
    assert!(
        first.stdout.contains("menu.0001_initial") && first.stdout.contains("auth.0001_initial"),
        "{}",
        first.stdout
    );
    assert!(
        first.stdout.contains("schema equal to the rehearsed one; its fingerprint is recorded"),
        "{}",
        first.stdout
    );
    let not_tried =
        "the way back was not tried: no migration was applied before; --way-back once tries it all the same";
    assert!(first.stderr.contains(not_tried), "{}", first.stderr);
    assert_eq!(django.applied().len(), 10);
    assert_eq!(scene.database.query(permissions), "8");
    let snapshots = || scene.run(0, &["snapshot", "list", "--json"]).stdout;
    let taken = snapshots();
    let again = django.exec(0, &[], &["migrate", "--noinput"]);
    let said = "nothing to do: by `manage.py migrate --plan` nothing is pending; no snapshot was taken\n";
    assert_eq!(again.stdout, said);
    assert_eq!(snapshots(), taken);
    django.fill();

    django.migration("menu", "0002_note", "0001_initial", NOTE);
    let good = django.exec(0, &[], &["migrate"]);
    assert!(good.stderr.contains("  shadow | back: menu 0001_initial"), "{}", good.stderr);
    assert!(good.stderr.contains("ACCESS EXCLUSIVE on public.menu_item"), "{}", good.stderr);
    assert!(good.stderr.contains("reversible: down and up again were run"), "{}", good.stderr);
    assert!(good.stdout.contains("  menu.0002_note\n"), "{}", good.stdout);

    let before = (scene.schema(), django.applied());
    django.migration("menu", "0003_unique", "0002_note", UNIQUE);
    let bad = django.exec(3, &[], &["migrate"]);
    assert!(bad.stderr.contains("IntegrityError") && bad.stderr.contains("production: unchanged"), "{}", bad.stderr);
    assert_eq!((scene.schema(), django.applied()), before);
    django.remove("menu", "0003_unique");

    // The column had values, and the way back takes them.
    scene.database.sql("UPDATE menu_item SET note = 'hot'");
    let refused = django.exec(3, &[], &["migrate", "menu", "0001"]);
    assert!(refused.stderr.contains("column public.menu_item.note is gone with 3 values"), "{}", refused.stderr);
    assert_eq!((scene.schema(), django.applied()), before);
    let hash = refused.stderr.split("--accept-data-loss ").nth(1).unwrap().trim();
    let back = django.exec(0, &["--accept-data-loss", hash], &["migrate", "menu", "0001"]);
    assert!(back.stdout.contains("menu.0002_note unapplied"), "{}", back.stdout);
    assert_eq!(django.applied().len(), 10);

    // The worst day.
    let id = back.stdout.split("restore ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    scene.database.sql("DROP TABLE menu_item CASCADE; DELETE FROM auth_permission");
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert_eq!((scene.schema(), django.applied()), before);
    assert_eq!(scene.database.query("SELECT count(*) FROM menu_item WHERE note = 'hot'"), "3");
    assert_eq!(scene.database.query(permissions), "8");
    assert_eq!(django.manage(&["check"]).status, 0);
    let shown = django.manage(&["showmigrations", "menu"]).stdout;
    assert_eq!(shown, "menu\n [X] 0001_initial\n [X] 0002_note\n");
}

#[test]
fn exec_django_tells_which_way_back_there_is() {
    let django = DjangoProject::on(&TestCluster::shared(Version::V18));
    django.begin_migrated();
    django.fill();
    let noop = "    operations = [migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop), ";
    django.migration("menu", "0002_note", "0001_initial", &NOTE.replace("    operations = [", noop));
    django.migration("menu", "0003_notes", "0002_note", NOTES);
    let both = django.exec(0, &[], &["migrate"]);
    assert!(both.stderr.contains("reversible: down and up again were run"), "{}", both.stderr);
    assert_eq!(django.scene.database.query("SELECT count(*) FROM menu_item WHERE note = 'as always'"), "3");
    assert!(both.stderr.contains("menu/migrations/0003_notes.py: Raw Python operation: has no SQL"), "{}", both.stderr);
    assert!(!both.stderr.contains("menu/migrations/0002_note.py: Raw Python operation"), "{}", both.stderr);
    assert!(both.stderr.contains("[statements-after-access-exclusive]"), "{}", both.stderr);
    assert!(both.stderr.contains("[django-missing-migration]"), "{}", both.stderr);

    // It claims to have a way back.
    django.migration("menu", "0004_lowered", "0003_notes", LOWERED);
    let lowered = django.exec(0, &[], &["migrate"]);
    assert!(lowered.stderr.contains("not reversible as it should be: "), "{}", lowered.stderr);
    assert!(lowered.stderr.contains("3 values of public.menu_item.price are others than before"), "{}", lowered.stderr);

    django.migration("menu", "0005_raised", "0004_lowered", RAISED);
    let raised = django.exec(0, &[], &["migrate"]);
    assert!(raised.stderr.contains("not reversible: `migrate menu 0004_lowered` ended with"), "{}", raised.stderr);
    assert!(raised.stderr.contains("IrreversibleError"), "{}", raised.stderr);
    assert_eq!(django.scene.database.query("SELECT sum(price) FROM menu_item"), "6800", "raised once");
}

#[test]
fn exec_django_in_the_words_of_every_command() {
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    let scene = &django.scene;
    scene.project.configure_more("[exec]\ndjango = [\"python\", \"site/manage.py\"]\n");
    let planned = scene.run(0, &["plan", "--django"]).stdout;
    assert!(planned.starts_with("contenttypes.0001_initial\n") && planned.contains("menu.0001_initial\n"), "{planned}");
    django.begin_migrated();
    django.fill();
    let status = scene.run(0, &["status", "--django", "--check", "menu", "orders"]).stdout;
    assert_eq!(status, "menu\n [X] 0001_initial\norders\n [X] 0001_initial\n");
    let unknown = scene.run(2, &["status", "--django", "menus"]).stderr;
    assert!(unknown.contains("no migrations of an app \"menus\""), "{unknown}");

    django.migration("menu", "0002_note", "0001_initial", NOTE);
    let pending = scene.run(3, &["status", "--django", "--check"]);
    assert!(pending.stderr.contains("1 pending"), "{}", pending.stderr);
    // To tell the SQL runs nothing, in production or on the copy.
    django.migration("menu", "0003_within", "0002_note", WITHIN);
    let plan = scene.run(0, &["plan", "--django", "--sql"]).stdout;
    assert!(plan.contains("    ALTER TABLE \"menu_item\" ADD COLUMN \"note\" varchar(20) NULL;\n"), "{plan}");
    assert!(plan.contains("    ALTER TABLE \"menu_item\" ADD COLUMN \"within\" integer NULL;\n"), "{plan}");
    assert_eq!(scene.database.query("SELECT count(*) FROM menu_category"), "2");
    let rehearsed = scene.run(0, &["rehearse", "--django"]);
    assert!(rehearsed.stdout.contains("production is unchanged"), "{}", rehearsed.stdout);
    assert!(rehearsed.stderr.contains("rows of public.menu_category: 2 before, 3 after"), "{}", rehearsed.stderr);
    django.remove("menu", "0003_within");
    assert_eq!(django.applied().len(), 10);
    let fence = scene.run(2, &["apply", "--django", "--fence", "--yes"]).stderr;
    assert!(fence.contains("--fence does nothing for --django"), "{fence}");
    scene.run(0, &["apply", "menu", "0002", "--django", "--yes"]);
    assert_eq!(scene.run(0, &["plan", "--django"]).stdout, "nothing to do\n");
    let back = scene.run(0, &["rollback", "menu", "0001", "--django", "--yes"]).stdout;
    assert!(back.contains("menu.0002_note unapplied"), "{back}");

    django.ignore_the_variables();
    let elsewhere = scene.database.name().to_owned();
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    scene.project.configure(&text.replace(&format!("/{elsewhere}\""), "/postgres\""));
    let refused = scene.run(3, &["status", "--django"]).stderr;
    assert!(refused.contains(&elsewhere) && refused.contains("it was not started"), "{refused}");
}

#[test]
fn exec_django_offers_the_merge_of_two_leaves() {
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    django.begin_migrated();
    django.migration("menu", "0002_note", "0001_initial", NOTE);
    django.migration("menu", "0002_unique", "0001_initial", UNIQUE);
    let said = "conflicting migrations, so Django migrates nothing: menu has the leaves 0002_note, 0002_unique\n";
    for target in [&["migrate"][..], &["migrate", "menu", "0002_note"]] {
        let output = django.exec(3, &[], target);
        assert!(output.stderr.contains(said) && output.stderr.contains("production: unchanged"), "{}", output.stderr);
        assert!(output.stderr.contains("hint: `python manage.py makemigrations --merge` makes"), "{}", output.stderr);
    }
    let scene = &django.scene;
    assert!(scene.run(6, &["snapshot", "list"]).stderr.contains("the first `safe-migrate snapshot create` makes"));
    let import = scene.run(3, &["import", "--from", "django", "site", "--yes"]);
    assert!(import.stderr.contains(said) && import.stderr.contains("makemigrations --merge"), "{}", import.stderr);
    // Settings of its own are not asked about: the rehearsal tells.
    let other = django.exec(3, &[], &["migrate", "--settings=shop.settings"]);
    assert!(other.stderr.contains("Conflicting migrations detected"), "{}", other.stderr);
    assert!(other.stderr.contains("production: unchanged"), "{}", other.stderr);
    assert_eq!(django.applied().len(), 10);
    scene.project.configure_more("[exec]\ndjango = [\"python\", \"site/manage.py\"]\n");
    assert!(scene.run(0, &["status", "--django"]).stderr.contains(said.trim_end()));
    assert_eq!(django.manage(&["makemigrations", "--merge", "--noinput"]).status, 0);
    let planned = scene.run(0, &["plan", "--django"]);
    assert!(
        planned.stdout.contains("menu.0003_merge_") && !planned.stderr.contains("conflicting"),
        "{}",
        planned.stderr
    );
}

#[test]
fn exec_django_whose_settings_ignore_the_variables_is_refused() {
    let cluster = std::sync::Arc::new(TestCluster::start(Version::V15, &["log_connections=on"]));
    let django = DjangoProject::on(&cluster);
    django.ignore_the_variables();
    let before = strangers(&cluster);
    // Which migrations are pending is asked at production's own address, where these settings go in any case.
    let output = django.exec(3, &[], &["migrate", "--run-syncdb"]);
    assert!(output.stderr.contains("it was not started"), "{}", output.stderr);
    assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
    assert!(!output.stderr.contains("Running migrations"), "{}", output.stderr);
    assert_eq!(strangers(&cluster), before);
    // The log does tell: Django itself is seen.
    assert_eq!(django.manage(&["migrate"]).status, 0);
    assert_ne!(strangers(&cluster), before);
}

/// A second database that the settings name in full; the rehearsal must not reach it.
#[test]
fn exec_django_with_another_database_in_its_settings() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    let archive = django.scene.cluster().database();
    django.begin_migrated();
    django.fill();
    django.archive_in(&archive);
    // It writes to whatever the alias is.
    let elsewhere = "def write(apps, editor):
    from django.db import connections
    connections['archive'].cursor().execute('CREATE TABLE reached (id int)')

---
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]";
    django.migration("menu", "0002_elsewhere", "0001_initial", elsewhere);
    let stopped = django.exec(3, &[], &["migrate"]);
    assert!(stopped.stderr.contains("database \"archive\" of the settings is 127.0.0.1:"), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("OperationalError"), "{}", stopped.stderr);
    assert_eq!(archive.query("SELECT to_regclass('reached')"), "");

    django.migration("menu", "0002_elsewhere", "0001_initial", NOTE);
    let done = django.exec(0, &[], &["migrate"]);
    assert!(done.stderr.contains("no copy; the rehearsal cannot reach it"), "{}", done.stderr);
    let other = django.exec(3, &[], &["migrate", "--database", "archive"]);
    assert!(other.stderr.contains("database \"archive\" of the settings is"), "{}", other.stderr);
    assert!(other.stderr.contains("it was not started"), "{}", other.stderr);
    assert_eq!(archive.query("SELECT to_regclass('django_migrations')"), "");
}

#[test]
fn exec_django_fakes_a_migration_whose_schema_is_there() {
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    django.begin_migrated();
    django
        .scene
        .database
        .sql("ALTER TABLE menu_item ADD note varchar(20); CREATE INDEX item_price ON menu_item (price)");
    django.migration("menu", "0002_note", "0001_initial", NOTE);
    let schema = django.scene.schema();
    let drift = ["--accept-drift", "made by hand"];
    let done = django.exec(0, &drift, &["migrate", "menu", "0002", "--fake"]);
    assert!(done.stdout.contains("  menu.0002_note\n"), "{}", done.stdout);
    assert_eq!(django.scene.schema(), schema);
    assert!(django.applied().contains(&"menu.0002_note".to_owned()));
}

/// A type changed and a constraint removed: Django's way back gives the constraint another name, and wants unique rows.
#[test]
fn exec_django_that_loosens_a_column_is_told_what_its_way_back_is_worth() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    let django = DjangoProject::on(&TestCluster::shared(Version::V15));
    django.begin_migrated();
    django.fill();
    let looser = "    operations = [migrations.AlterField('category', 'slug', models.CharField(max_length=40)),
        migrations.AlterField('item', 'price', models.DecimalField(max_digits=8, decimal_places=2, default=0))]";
    django.migration("menu", "0002_looser", "0001_initial", looser);
    let done = django.exec(0, &[], &["migrate"]).stderr;
    assert!(done.contains("rewrites public.menu_item"), "{done}");
    assert!(done.contains("[changing-column-type]"), "{done}");
    assert!(done.contains("not reversible as it should be: the schema"), "{done}");
    assert!(done.contains("- CONSTRAINT public.menu_category menu_category_slug_key"), "{done}");
    assert_eq!(django.scene.database.query("SELECT sum(price) FROM menu_item"), "6800.00");
    django.scene.database.sql("INSERT INTO menu_category (slug) VALUES ('grill')");
    let back = django.exec(3, &[], &["migrate", "menu", "0001"]).stderr;
    assert!(back.contains("IntegrityError") && back.contains("production: unchanged"), "{back}");
}
