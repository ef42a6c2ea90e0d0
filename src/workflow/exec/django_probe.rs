//! What a Django project is asked before anything is run: where its databases are, and what of its history its own commands
//! do not say.

use serde::Deserialize;

use crate::report::format_list;

use super::super::{Error, Gate, Interrupt, Operator};
use super::django::Django;
use super::program::{Surroundings, WrappedCommand};

/// Begins the line in which our probe answers.
pub(super) const ANSWER: &str = "safe-migrate-probe ";

/// Where an alias of `DATABASES` goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Alias {
    /// Its name in the settings.
    pub alias: String,
    /// Host, port and name.
    pub place: String,
    /// Whether that is the address of the variables.
    pub here: bool,
    /// The mark that was read there; never asked for elsewhere.
    pub mark: Option<String>,
    /// Migrations that replace others; empty where they were not asked for, or could not be read.
    #[serde(default)]
    pub squashed: Vec<Squashed>,
    /// Apps with more than one leaf, and those.
    #[serde(default)]
    conflicts: Vec<(String, Vec<String>)>,
    /// How many migrations `migrate` would run; none: not asked, or not known.
    #[serde(default)]
    pub(super) pending: Option<u64>,
}

/// A migration that replaces others, and what Django's table has of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Squashed {
    /// App.
    pub app: String,
    /// Name.
    pub name: String,
    /// Whether the table has a row of its own.
    recorded: bool,
    /// What it replaces.
    replaces: Vec<String>,
    /// Which of those the table has.
    applied: Vec<String>,
    /// Whether one that the table has not has no file either.
    gone: bool,
}

impl Squashed {
    /// Whether it counts as applied by what it replaces alone, and the next `migrate` records it.
    pub fn is_unrecorded(&self) -> bool {
        !self.recorded && self.applied.len() == self.replaces.len()
    }

    /// Whether both are of one migration.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.app == other.app && self.name == other.name
    }

    /// What Django does not say of it.
    fn warning(&self) -> Option<String> {
        let Self { app, name, .. } = self;
        if self.applied.is_empty() {
            return self.recorded.then(|| {
                format!(
                    "{app}.{name} is in Django's table, and Django does not count it as applied, because nothing that it \
                     replaces is: `migrate` would run it again; take `replaces` out of it if no database needs that"
                )
            });
        }
        let is_partly = self.applied.len() < self.replaces.len();
        (is_partly && self.gone).then(|| {
            format!(
                "{app}.{name} replaces {}, and only {} is applied: Django leaves it out, and the files of the others are \
                 gone; check out the release that has them and migrate with that first",
                format_list(&self.replaces),
                format_list(&self.applied)
            )
        })
    }
}

impl Alias {
    /// Says what of its history needs attention and Django passes over.
    pub fn warn(&self, operator: &dyn Operator) {
        self.squashed.iter().filter_map(Squashed::warning).for_each(|warning| operator.warn(&warning));
    }

    fn conflict(&self) -> Option<String> {
        let apps = self.conflicts.iter().map(|(app, leaves)| format!("{app} has the leaves {}", leaves.join(", ")));
        let apps = apps.collect::<Vec<_>>().join("; ");
        (!apps.is_empty()).then(|| format!("conflicting migrations, so Django migrates nothing: {apps}"))
    }

    /// Says that an app has more than one leaf.
    pub fn warn_of_conflicts(&self, django: &Django, operator: &dyn Operator) {
        if let Some(conflict) = self.conflict() {
            operator.warn(&format!("{conflict}; {}", merge(django)));
        }
    }

    /// Refuses an app with more than one leaf, as every `migrate` does.
    pub fn refuse_conflicts(&self, django: &Django) -> Result<(), Error> {
        match self.conflict() {
            None => Ok(()),
            Some(message) => Err(Gate::Exec { message, hint: merge(django) }.into()),
        }
    }
}

fn merge(django: &Django) -> String {
    format!("`{}` makes a migration that stands on all of them", django.words(&["makemigrations", "--merge"]).join(" "))
}

impl Django {
    /// Asks the project where each of its databases is. It connects to none but the one at this address.
    pub async fn ask(
        &self,
        command: &WrappedCommand,
        around: Surroundings<'_>,
        interrupt: &Interrupt,
    ) -> Result<Vec<Alias>, Error> {
        self.ask_about(None, command, around, interrupt).await
    }

    /// The same, and what is pending of an app; of all when its name is empty. In one process, because a project starts slowly.
    pub(super) async fn ask_about(
        &self,
        app: Option<&str>,
        command: &WrappedCommand,
        around: Surroundings<'_>,
        interrupt: &Interrupt,
    ) -> Result<Vec<Alias>, Error> {
        let (host, port) = (around.endpoint.host(), around.endpoint.port());
        // JSON's strings are Python's too.
        let expected = serde_json::json!([host, port, around.endpoint.database()]).to_string();
        let app = app.map_or_else(|| "None".to_owned(), |app| serde_json::json!(app).to_string());
        let code = PROBE.replace("EXPECTED", &expected).replace("WANTED", &app);
        let probe = command.with_words(self.words(&["shell", "-c", &code]));
        let ended = probe.run(around, interrupt).await?;
        let answer = ended.output.lines().find_map(|line| line.strip_prefix(ANSWER));
        let aliases = answer.and_then(|text| serde_json::from_str::<Vec<Alias>>(text).ok());
        aliases.ok_or_else(|| {
            let words = self.words(&["shell"]).join(" ");
            let lines: String = ended.last_lines.iter().map(|line| format!("\n  | {line}")).collect();
            Gate::Exec {
                message: format!("`{words}` did not say which database it uses:{lines}"),
                hint: "make that command work with the variables of [exec] env, and those of [exec] pass".to_owned(),
            }
            .into()
        })
    }
}

const PROBE: &str = r#"
import json
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
def squashed(connection):
    # Read as for an empty database: of one with a part of what was squashed Django may refuse to build the graph.
    files = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    rows = set(MigrationRecorder(connection).applied_migrations())
    found = []
    for (app, name), migration in files.items():
        replaced = [tuple(one) for one in migration.replaces]
        if replaced:
            found.append({
                "app": app, "name": name, "recorded": (app, name) in rows, "replaces": [one[1] for one in replaced],
                "applied": [one[1] for one in replaced if one in rows],
                "gone": any(one not in rows and one not in files for one in replaced),
            })
    return found
def conflicts(connection):
    found = MigrationLoader(connection, ignore_no_migrations=True).detect_conflicts()
    return [[app, sorted(names)] for app, names in sorted(found.items())]
def pending(connection):
    # What `migrate --check` would find. That command sends its signals before Django 4.2, which may write.
    executor = MigrationExecutor(connection)
    leaves = [key for key in executor.loader.graph.leaf_nodes() if WANTED in ("", key[0])]
    return len(executor.migration_plan(leaves)) if leaves else None
def asked(question, connection, otherwise=[]):
    # A project whose migrations cannot be read says why when it is run.
    try:
        return question(connection)
    except Exception:
        return otherwise
seen = []
for alias in connections:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        continue
    said = connection.get_connection_params()
    place = [str(said.get("host") or ""), str(said.get("port") or "5432"), str(said.get("dbname") or said.get("database") or "")]
    one = {"alias": alias, "place": place[0] + ":" + place[1] + "/" + place[2], "mark": None}
    one["here"] = place == EXPECTED and not said.get("service")
    if one["here"]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('safe_migrate.mark', true)")
            one["mark"] = cursor.fetchone()[0]
        one["squashed"] = asked(squashed, connection)
        one["conflicts"] = asked(conflicts, connection)
        one["pending"] = None if WANTED is None else asked(pending, connection, None)
    seen.append(one)
print("safe-migrate-probe " + json.dumps(seen))
"#;
