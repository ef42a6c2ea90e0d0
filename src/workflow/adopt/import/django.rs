//! Django's migrations: one process of `manage.py` in a private database prints the SQL of each, runs it there (so that the
//! next one finds what it needs), and prints the SQL of its way back.

use serde::Deserialize;

use crate::migration::{ForeignMigration, without_own_transaction};

use super::super::super::exec::{COLLECTED, Django, refuse_other_place};
use super::super::super::programs::MigrationPrograms;
use super::super::super::{Error, Gate};
use super::Import;

/// Begins the line in which the script answers.
const ANSWER: &str = "safe-migrate-import ";

#[derive(Deserialize)]
struct Step {
    app: String,
    name: String,
    atomic: bool,
    sql: String,
    /// None: Django says that it cannot be undone.
    back: Option<String>,
    without_sql: Vec<String>,
    depends: Vec<(String, String)>,
    replaces: Vec<(String, String)>,
}

impl Import<'_> {
    pub(super) async fn of_django(&self) -> Result<Vec<ForeignMigration>, Error> {
        let command = &self.request.command;
        command.refuse_missing()?;
        let Some(django) = Django::of(&command.words) else {
            return Err(Gate::Exec {
                message: format!("`{}` runs no manage.py", command.display()),
                hint: "name it in [exec] django, such as [\"python\", \"manage.py\"]".to_owned(),
            }
            .into());
        };
        self.operator.step("asking Django, in a private database");
        let built = self.replay.empty().await?;
        let around = (self.replay.dir(), self.operator, self.interrupt);
        let programs = MigrationPrograms::in_shadow(self.project, &self.replay.spec(&built), around).await?;
        // The same probe as of `exec`: the settings must heed the variables, or Django would be asked to migrate elsewhere.
        let aliases = django.ask(command, programs.surroundings(), self.interrupt).await?;
        refuse_other_place(&django, &aliases, command)?.refuse_conflicts(&django)?;
        let words = django.words(&["shell", "-c", &format!("{COLLECTED}{SCRIPT}")]);
        let ended = command.with_words(words).run(programs.surroundings(), self.interrupt).await?;
        self.replay.drop(built).await?;
        let answer = ended.output.lines().find_map(|line| line.strip_prefix(ANSWER));
        let Some(steps) = answer.and_then(|text| serde_json::from_str::<Vec<Step>>(text).ok()) else {
            return Err(Error::Command(format!("`manage.py shell` ended with {}", ended.why())));
        };
        Ok(steps.into_iter().map(Step::into_foreign).collect())
    }
}

impl Step {
    fn into_foreign(self) -> ForeignMigration {
        let digits: String = self.name.chars().take_while(char::is_ascii_digit).collect();
        let words = self.name[digits.len()..].trim_start_matches('_').to_owned();
        let plain = |sql: &str| {
            let is_remark =
                |line: &&str| line.trim().starts_with("-- (no-op)") || line.contains("CANNOT BE WRITTEN AS SQL");
            let kept: Vec<&str> = sql.lines().filter(|line| !is_remark(line)).collect();
            without_own_transaction(&kept.join("\n"))
        };
        // Which of its own app it stands on is said too: numbers may be equal.
        ForeignMigration {
            source: format!("Imported from Django: {}.{}", self.app, self.name),
            digits: (!digits.is_empty()).then_some(digits),
            words,
            up: plain(&self.sql),
            down: self.back.as_deref().map(plain),
            transaction: (self.atomic, self.atomic),
            not_carried: self.without_sql,
            depends: self.depends,
            replaces: self.replaces,
            app: Some(self.app),
            key: self.name,
            digests: Vec::new(),
            covers: Vec::new(),
        }
    }
}

const SCRIPT: &str = r#"
import json
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
executor = MigrationExecutor(connection)
graph = executor.loader.graph
plan = executor.migration_plan(graph.leaf_nodes())
def sql(migration, backwards):
    # Django collects it against what is there, so the loader is as new. `sqlmigrate` cannot, where a migration stands on a
    # replaced one whose file is gone.
    return collected(MigrationLoader(connection), migration, backwards)
steps = []
for migration, backwards in plan:
    key = (migration.app_label, migration.name)
    forward = sql(migration, False)
    call_command("migrate", migration.app_label, migration.name, verbosity=0, interactive=False)
    try:
        back = sql(migration, True)
    except Exception:
        back = None
    if any(not one.reversible for one in migration.operations):
        back = None
    parents = [list(one.key) for one in graph.node_map[key].parents]
    steps.append({
        "app": migration.app_label, "name": migration.name, "atomic": migration.atomic, "sql": forward, "back": back,
        "without_sql": without_sql(migration.operations),
        "depends": parents, "replaces": [list(one) for one in migration.replaces],
    })
print("safe-migrate-import " + json.dumps(steps))
"#;
