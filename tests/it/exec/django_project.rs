//! A Django project with the ten apps of the restaurant.

use std::path::PathBuf;

use super::{put_on_path, python};
use crate::support::{Output, Project, Scene, TestCluster, TestDatabase, clean_command};

/// App, its models, and what they need of others.
const APPS: [(&str, &str); 10] = [
    (
        "accounts",
        "class Profile(models.Model):
    user = models.OneToOneField('auth.User', models.CASCADE)
    phone = models.CharField(max_length=20, blank=True)
",
    ),
    (
        "menu",
        "class Category(models.Model):
    slug = models.CharField(max_length=40, unique=True)

class Item(models.Model):
    category = models.ForeignKey(Category, models.CASCADE)
    name = models.CharField(max_length=120)
    price = models.IntegerField(default=0)
",
    ),
    (
        "orders",
        "class Order(models.Model):
    profile = models.ForeignKey('accounts.Profile', models.CASCADE)
    note = models.CharField(max_length=200, blank=True)

class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    item = models.ForeignKey('menu.Item', models.PROTECT)
    quantity = models.IntegerField(default=1)
",
    ),
    (
        "delivery",
        "class Delivery(models.Model):
    order = models.OneToOneField('orders.Order', models.CASCADE)
    address = models.TextField()
",
    ),
    (
        "payments",
        "class Payment(models.Model):
    order = models.ForeignKey('orders.Order', models.PROTECT)
    reference = models.CharField(max_length=40, unique=True)
",
    ),
    (
        "subscriptions",
        "class Subscription(models.Model):
    profile = models.ForeignKey('accounts.Profile', models.CASCADE)
    plan = models.CharField(max_length=20)
",
    ),
    (
        "loyalty",
        "class Account(models.Model):
    profile = models.OneToOneField('accounts.Profile', models.CASCADE)
    points = models.IntegerField(default=0)
",
    ),
    (
        "notifications",
        "class Notice(models.Model):
    profile = models.ForeignKey('accounts.Profile', models.CASCADE)
    text = models.TextField()
",
    ),
    (
        "reviews",
        "class Review(models.Model):
    item = models.ForeignKey('menu.Item', models.CASCADE)
    stars = models.IntegerField()
",
    ),
    (
        "support",
        "class Ticket(models.Model):
    profile = models.ForeignKey('accounts.Profile', models.CASCADE)
    subject = models.CharField(max_length=200)
",
    ),
];

const MANAGE: &str = "import os, sys
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
";

/// What reads the address from the variables.
const HEEDING: &str = "dict(NAME=os.environ.get('DB_NAME'), USER=os.environ.get('DB_USER'),
    PASSWORD=os.environ.get('DB_PASSWORD'), HOST=os.environ.get('DB_HOST'), PORT=os.environ.get('DB_PORT'))";

/// A project in the directory `site` of a scene.
pub struct DjangoProject {
    pub scene: Scene,
}

impl DjangoProject {
    /// The ten apps with their first migrations, which Django writes; nothing is applied.
    pub fn on(cluster: &std::sync::Arc<TestCluster>) -> DjangoProject {
        let mut scene = Scene::on(cluster);
        put_on_path(&mut scene);
        let project = DjangoProject { scene };
        project.write("manage.py", MANAGE);
        project.write("shop/__init__.py", "");
        project.settings(HEEDING);
        for (app, models) in APPS {
            project.write(&format!("{app}/__init__.py"), "");
            project.write(&format!("{app}/migrations/__init__.py"), "");
            project.write(&format!("{app}/models.py"), &format!("from django.db import models\n\n{models}"));
        }
        let made = project.manage(&["makemigrations", "-v0"]);
        assert_eq!(made.status, 0, "{}", made.stderr);
        project
    }

    /// Writes the settings with this database.
    pub fn settings(&self, database: &str) {
        let apps = APPS.map(|(app, _)| format!("'{app}'")).join(", ");
        self.write(
            "shop/settings.py",
            &format!(
                "import os
SECRET_KEY = 'of the tests'
USE_TZ = True
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.sessions', {apps}]
DATABASES = {{'default': dict(ENGINE='django.db.backends.postgresql', **{database})}}
"
            ),
        );
    }

    /// Leaves these apps alone in the settings, without those of Django's own.
    pub fn only(&self, apps: &[&str]) {
        let path = self.directory().join("shop/settings.py");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}INSTALLED_APPS = {apps:?}\n")).unwrap();
    }

    /// Has Django squash an app's migrations up to this one, and takes the originals away; the name of the new one.
    pub fn squash(&self, app: &str, originals: &[&str]) -> String {
        let last = originals.last().unwrap();
        let output = self.manage(&["squashmigrations", app, last, "--noinput"]);
        assert_eq!(output.status, 0, "{}", output.stderr);
        originals.iter().for_each(|one| self.remove(app, one));
        format!("0001_squashed_{last}")
    }

    /// Writes what Django's table has of an app.
    pub fn record(&self, app: &str, names: &[&str]) {
        let row = |name: &&str| {
            format!("INSERT INTO django_migrations (app, name, applied) VALUES ('{app}', '{name}', now());")
        };
        let rows: String = names.iter().map(row).collect();
        self.scene.database.sql(&format!("DELETE FROM django_migrations WHERE app = '{app}'; {rows}"));
    }

    /// Settings that name production whatever the variables say.
    pub fn ignore_the_variables(&self) {
        let cluster = self.scene.cluster();
        let (name, port) = (self.scene.database.name(), cluster.port());
        let password = cluster.password();
        self.settings(&format!(
            "dict(NAME='{name}', USER='admin', PASSWORD='{password}', HOST='127.0.0.1', PORT='{port}')"
        ));
    }

    /// Adds a database `archive` to the settings, with its whole address.
    pub fn archive_in(&self, archive: &TestDatabase) {
        let cluster = self.scene.cluster();
        let path = self.directory().join("shop/settings.py");
        let text = std::fs::read_to_string(&path).unwrap();
        let (name, port, password) = (archive.name(), cluster.port(), cluster.password());
        let archive = format!(
            "DATABASES['archive'] = dict(ENGINE='django.db.backends.postgresql', NAME='{name}', USER='admin', \
             PASSWORD='{password}', HOST='127.0.0.1', PORT='{port}')\n"
        );
        std::fs::write(path, text + &archive).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        self.scene.project.write(&format!("site/{path}"), text);
    }

    /// Adds a migration of an app behind another.
    pub fn migration(&self, app: &str, name: &str, after: &str, body: &str) {
        let text = format!(
            "from django.db import migrations, models\n\n{}\nclass Migration(migrations.Migration):\n    dependencies = \
             [('{app}', '{after}')]\n{}\n",
            body.split_once("---\n").map_or("", |(functions, _)| functions),
            body.split_once("---\n").map_or(body, |(_, class)| class)
        );
        self.write(&format!("{app}/migrations/{name}.py"), &text);
    }

    /// Takes a migration away.
    pub fn remove(&self, app: &str, name: &str) {
        let path = self.directory().join(format!("{app}/migrations/{name}.py"));
        std::fs::remove_file(path).unwrap();
    }

    pub fn directory(&self) -> PathBuf {
        self.scene.project.directory().join("site")
    }

    /// `python manage.py …` on production, as a user would run it.
    pub fn manage(&self, arguments: &[&str]) -> Output {
        let cluster = self.scene.cluster();
        let mut command = clean_command(python());
        command.arg("manage.py").args(arguments).current_dir(self.directory());
        command
            .env("DB_NAME", self.scene.database.name())
            .env("DB_USER", "admin")
            .env("DB_PASSWORD", cluster.password())
            .env("DB_HOST", "127.0.0.1")
            .env("DB_PORT", cluster.port().to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Project::output_of(&mut command)
    }

    /// `safe-migrate exec … -- python manage.py …`.
    #[track_caller]
    pub fn exec(&self, status: i32, options: &[&str], manage: &[&str]) -> Output {
        let arguments = [&["exec", "--dir", "site", "--yes"], options, &["--", "python", "manage.py"], manage].concat();
        self.scene.run(status, &arguments)
    }

    /// Has Django apply what there is, by itself: what a test begins with.
    #[track_caller]
    pub fn begin_migrated(&self) {
        let output = self.manage(&["migrate"]);
        assert_eq!(output.status, 0, "{}", output.stderr);
    }

    /// `app.name` of what Django's table says is applied, of the ten apps.
    pub fn applied(&self) -> Vec<String> {
        let apps = APPS.map(|(app, _)| format!("'{app}'")).join(", ");
        let sql = format!("SELECT app || '.' || name FROM django_migrations WHERE app IN ({apps}) ORDER BY 1");
        self.scene.database.query(&sql).lines().map(str::to_owned).collect()
    }

    /// Rows of a restaurant; two items have the same name.
    pub fn fill(&self) {
        self.scene.database.sql(
            "INSERT INTO menu_category (slug) VALUES ('grill'), ('drinks');
             INSERT INTO menu_item (category_id, name, price) SELECT 1, 'Brochette', 3000 FROM generate_series(1, 2);
             INSERT INTO menu_item (category_id, name, price) VALUES (2, 'Ikivuguto', 800);
             INSERT INTO reviews_review (item_id, stars) SELECT id, 5 FROM menu_item",
        );
    }
}
