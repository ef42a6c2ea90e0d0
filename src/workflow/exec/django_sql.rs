//! What a Django project would run: the SQL of its pending migrations, what has none, and models without a migration.

use std::path::PathBuf;

use serde::Deserialize;

use crate::lint::Policy;
use crate::migration::{Direction, Migration, MigrationId, Plan, PlanStep};
use crate::report::{Evidence, FindingLevel, FindingReport};

use super::super::{Error, Interrupt, findings};
use super::django::{Django, Listed};
use super::django_probe::ANSWER;
use super::program::{Surroundings, WrappedCommand};

/// What the project says of itself.
#[derive(Debug, Default, Deserialize)]
pub struct Project {
    /// Pending migrations, in order.
    steps: Vec<Step>,
    /// Whether models were changed and no migration was written for that.
    missing: bool,
}

#[derive(Debug, Deserialize)]
struct Step {
    app: String,
    name: String,
    atomic: bool,
    /// What it would run.
    sql: String,
    /// Operations that have none, such as RunPython.
    without_sql: Vec<String>,
}

impl Django {
    /// Asks the project. None: it did not answer, and running it will say why.
    pub async fn project(
        &self,
        command: &WrappedCommand,
        around: Surroundings<'_>,
        interrupt: &Interrupt,
    ) -> Result<Option<Project>, Error> {
        // JSON's strings are Python's too.
        let code = format!("{COLLECTED}{ASK}").replace("ALIAS", &serde_json::Value::from(self.alias()).to_string());
        let ended = command.with_words(self.words(&["shell", "-c", &code])).run(around, interrupt).await?;
        let answer = ended.output.lines().find_map(|line| line.strip_prefix(ANSWER));
        Ok(answer.and_then(|text| serde_json::from_str(text).ok()))
    }
}

impl Django {
    /// The SQL of these migrations, as `sqlmigrate` prints it; nothing of them is run.
    pub(super) async fn sql(
        &self,
        command: &WrappedCommand,
        wanted: &[(String, String)],
        around: Surroundings<'_>,
    ) -> Result<Vec<String>, Error> {
        let alias = serde_json::Value::from(self.alias()).to_string();
        let code = SQL.replace("ALIAS", &alias).replace("WANTED", &serde_json::json!(wanted).to_string());
        let words = self.words(&["shell", "-c", &format!("{COLLECTED}{code}")]);
        let ended = command.with_words(words).run(around, &Interrupt::default()).await?;
        let answer = ended.output.lines().find_map(|line| line.strip_prefix(ANSWER));
        let texts = answer.and_then(|text| serde_json::from_str(text).ok());
        texts.ok_or_else(|| Error::Command(format!("`manage.py shell` ended with {}", ended.why())))
    }
}

impl Project {
    /// What is to be said of the migrations that were applied, by the rules for SQL.
    pub fn findings(&self, applied: &[&Listed], policy: &Policy) -> Vec<FindingReport> {
        let steps =
            || self.steps.iter().filter(|step| applied.iter().any(|one| one.app == step.app && one.name == step.name));
        let mut found: Vec<FindingReport> = steps().filter_map(|step| step.linted(policy)).flatten().collect();
        for step in steps().filter(|step| !step.without_sql.is_empty()) {
            let operations = step.without_sql.join(", ");
            let message = format!("{operations}: has no SQL to look at; only the rehearsal shows what it does");
            found.push(step.finding("django-no-sql", FindingLevel::Note, message));
        }
        if self.missing {
            let message = "models differ from their migrations: `makemigrations` would write one".to_owned();
            found.push(finding("django-missing-migration", FindingLevel::Warn, None, message));
        }
        found
    }
}

impl Step {
    fn file(&self) -> String {
        format!("{}/migrations/{}.py", self.app, self.name)
    }

    /// None: its name is none that a migration of ours could have.
    fn linted(&self, policy: &Policy) -> Option<Vec<FindingReport>> {
        let id = MigrationId::new(&self.app, &self.name).ok()?;
        let marker = if self.atomic { "-- migrate:up" } else { "-- migrate:up transaction:false" };
        let text = format!("{marker}\n{}\n", self.sql);
        let migration = Migration::parse(id, PathBuf::from(self.file()), text.as_bytes()).ok()?;
        let step = PlanStep { migration: migration.into(), direction: Direction::Apply };
        let found = findings::of_text(&Plan { direction: Direction::Apply, steps: vec![step] }, policy);
        // There is no down section because Django writes none; the way back is rehearsed. A line of the SQL is none of the file.
        let said = found.into_iter().filter(|one| one.code != "missing-down");
        Some(said.map(|one| FindingReport { line: None, file: Some(self.file()), ..one }).collect())
    }

    fn finding(&self, code: &str, level: FindingLevel, message: String) -> FindingReport {
        finding(code, level, Some((format!("{}/{}", self.app, self.name), self.file())), message)
    }
}

fn finding(code: &str, level: FindingLevel, place: Option<(String, String)>, message: String) -> FindingReport {
    let (migration, file) = place.unzip();
    FindingReport {
        code: code.to_owned(),
        level,
        evidence: Evidence::Static,
        migration,
        file,
        line: None,
        message,
        remedy: None,
        allowed: None,
    }
}

/// The SQL of a migration, and which operations do what no SQL says; a RunPython that does nothing either way is none.
pub const COLLECTED: &str = r#"
from unittest import mock
from django.db.migrations import RunPython, SeparateDatabaseAndState
def collected(loader, migration, backwards):
    # `sqlmigrate` really runs a RunPython that is within another operation.
    def nothing(*arguments):
        pass
    with mock.patch.multiple(RunPython, database_forwards=nothing, database_backwards=nothing):
        return "\n".join(loader.collect_sql([(migration, backwards)]))
def without_sql(operations):
    found = []
    for one in operations:
        if isinstance(one, SeparateDatabaseAndState):
            found += without_sql(one.database_operations)
        elif isinstance(one, RunPython) and one.code is RunPython.noop and one.reverse_code in (None, RunPython.noop):
            continue
        elif not one.reduces_to_sql:
            found.append(str(one.describe()))
    return found
"#;

const ASK: &str = r#"
import io, json
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connections[ALIAS])
graph = executor.loader.graph
steps = []
if not executor.loader.detect_conflicts():
    for migration, backwards in executor.migration_plan(graph.leaf_nodes()):
        try:
            # `sqlmigrate` cannot, where a migration stands on a replaced one whose file is gone.
            sql = collected(executor.loader, migration, False)
        except Exception:
            sql = ""
        steps.append({
            "app": migration.app_label, "name": migration.name, "atomic": migration.atomic, "sql": sql,
            "without_sql": without_sql(migration.operations),
        })
missing = False
try:
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0, stdout=io.StringIO(), stderr=io.StringIO())
except SystemExit as end:
    missing = end.code == 1
except Exception:
    pass
print("safe-migrate-probe " + json.dumps({"steps": steps, "missing": missing}))
"#;

const SQL: &str = r#"
import json
from django.db import connections
from django.db.migrations.loader import MigrationLoader
loader = MigrationLoader(connections[ALIAS])
texts = []
for app, name in WANTED:
    migration = loader.get_migration(app, name)
    text = collected(loader, migration, False) + "\n"
    texts.append("BEGIN;\n" + text + "COMMIT;\n" if migration.atomic else text)
print("safe-migrate-probe " + json.dumps(texts))
"#;
