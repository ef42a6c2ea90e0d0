//! `status`: what is applied, what is pending.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::django;
use super::status_graph::{self, GraphFormat};
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::migration::{AppliedMigration, MigrationId, Squash, SquashUse};
use crate::postgres::RunRecord;
use crate::report::{format_ago, format_duration, format_time};
use crate::workflow::retention::{Protection, protection};
use crate::workflow::{Error, Operator, Project, State};

/// How long the store may take to say what would come back.
const PATIENCE: Duration = Duration::from_secs(3);

/// Show what is applied, what is pending, and what disagrees
///
/// Changed or missing files, conflicts and unfinished runs are named. Changes
/// nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate status
  safe-migrate status menu orders
  safe-migrate status --plan       in the order in which they run, and by whom
  safe-migrate status --graph mermaid
  safe-migrate status --check      exit 3 unless all is applied and clean")]
pub(crate) struct Args {
    /// Only these apps
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<String>,
    /// Exit with 3 when something is pending or wrong
    #[arg(long)]
    pub(crate) check: bool,
    /// All of them in the order in which they run, with when, by which run and by whom
    #[arg(long, conflicts_with_all = ["graph", "django"])]
    pub(crate) plan: bool,
    /// Who depends on whom, as text for Graphviz (`dot`) or Mermaid
    #[arg(long, value_name = "dot|mermaid", hide_possible_values = true, conflicts_with = "django")]
    pub(crate) graph: Option<GraphFormat>,
    /// Of the migrations of a Django project, by its own manage.py ([exec] django)
    #[arg(long)]
    pub(crate) django: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if args.django {
        return django::status(context, &args.apps, args.check).await;
    }
    // A database elsewhere may have no store yet, and a store that is refused is the matter of others.
    let project = context.project().or_else(|_| context.project_without_store())?;
    let protection = if project.store.url.is_empty() { None } else { Some(protection_of(&project)) };
    let state = context
        .unless_interrupted(async {
            let session = project.target.connect("safe-migrate status").await.map_err(Error::from)?;
            Ok(State::read(&project, &session).await?)
        })
        .await?;
    let rows = rows(&state);
    let apps = chosen_apps(&rows, &args.apps)?;
    let rows: Vec<Row> = rows.into_iter().filter(|row| apps.contains(&row.id.app)).collect();
    let warnings = warnings(&state, &apps);
    warnings.iter().for_each(|warning| context.operator.warn(warning));
    let protected = match protection {
        Some(looking) => context.unless_interrupted(async { Ok(looking.await) }).await?,
        None => (String::new(), Value::Null),
    };
    let mut outcome = rendered(&state, &rows, &warnings, protected);
    if args.plan {
        outcome = outcome.with_text(in_order(&state, &rows));
    }
    if let Some(format) = args.graph {
        outcome = outcome.with_text(status_graph::text(format, &state.migrations, &rows));
    }
    match findings(&state, &rows) {
        Some(found) if args.check => Err(CliError::new(ErrorKind::Gate, "pending", found)
            .production("unchanged")
            .hint("`safe-migrate plan` shows what `safe-migrate apply` would do, or what stands in its way")
            .with_findings(outcome)),
        _ => Ok(outcome),
    }
}

/// What would come back if the database were lost now, as a line and as facts. A store that does not answer holds up nothing.
async fn protection_of(project: &Project) -> (String, Value) {
    let unknown = |why: String| (format!("snapshots: not known, {why}\n"), Value::Null);
    match tokio::time::timeout(PATIENCE, protection(project)).await {
        Ok(Ok(found)) => {
            let value = serde_json::to_value(&found).unwrap_or_default();
            (format!("{}\n", in_a_line(&found, OffsetDateTime::now_utc())), value)
        }
        Ok(Err(error)) => unknown(error.to_string()),
        Err(_) => unknown(format!("the store did not answer within {} s", PATIENCE.as_secs())),
    }
}

fn in_a_line(found: &Protection, now: OffsetDateTime) -> String {
    let Some(newest) = &found.newest else {
        return "no snapshot: a loss now would cost everything".to_owned();
    };
    let proven = match &found.proven {
        None => "none proven (`safe-migrate drill`)".to_owned(),
        Some(proven) => {
            let which = if proven.id == newest.id {
                "proven".to_owned()
            } else {
                format!("the newest proven one {}", format_ago(proven.taken_at, now))
            };
            let took = proven.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let took = took.map(|took| format!(", back in {}", format_duration(took)));
            format!("{which}{}", took.unwrap_or_default())
        }
    };
    format!(
        "newest snapshot {}, {proven}; a loss now would cost what was written after {}",
        format_ago(newest.taken_at, now),
        format_time(newest.taken_at)
    )
}

/// Where one migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Applied,
    Pending,
    /// It stopped in the middle, outside a transaction.
    HalfDone,
    /// Applied from another text than the file's.
    Changed,
    /// Applied, and there is no file.
    Missing,
}

impl Standing {
    fn mark(self) -> &'static str {
        match self {
            Standing::Applied => "[X]",
            Standing::Pending => "[ ]",
            Standing::HalfDone => "[~]",
            Standing::Changed => "[!]",
            Standing::Missing => "[?]",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Standing::Applied => "applied",
            Standing::Pending => "pending",
            Standing::HalfDone => "half done",
            Standing::Changed => "changed",
            Standing::Missing => "missing",
        }
    }
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: MigrationId,
    pub(super) standing: Standing,
    applied: Option<AppliedMigration>,
}

/// The files in the order in which they run, then what is applied and has no file.
fn rows(state: &State) -> Vec<Row> {
    let applied = |id: &MigrationId| state.applied.iter().find(|row| row.id == *id).cloned();
    let half_done: Vec<MigrationId> = state.ledger.half_done().into_iter().map(|one| one.id).collect();
    let of_files = state.migrations.iter().map(|migration| {
        let applied = applied(&migration.id);
        let changed = state.check.changed.iter().any(|one| one.id == migration.id);
        let standing = match (&applied, changed) {
            _ if half_done.contains(&migration.id) => Standing::HalfDone,
            (None, _) => Standing::Pending,
            (Some(_), true) => Standing::Changed,
            (Some(_), false) => Standing::Applied,
        };
        Row { id: migration.id.clone(), standing, applied }
    });
    let missing = state.check.missing.iter();
    let missing = missing.map(|id| Row { id: id.clone(), standing: Standing::Missing, applied: applied(id) });
    let without_file = half_done.iter().filter(|id| state.migrations.get(id).is_none() && applied(id).is_none());
    let without_file = without_file.map(|id| Row { id: id.clone(), standing: Standing::HalfDone, applied: None });
    of_files.chain(missing).chain(without_file).collect()
}

/// The apps to show: those that were named, or all.
fn chosen_apps(rows: &[Row], named: &[String]) -> Result<BTreeSet<String>, CliError> {
    let known: BTreeSet<String> = rows.iter().map(|row| row.id.app.clone()).collect();
    if named.is_empty() {
        return Ok(known);
    }
    if let Some(unknown) = named.iter().find(|app| !known.contains(*app)) {
        let hint = match known.is_empty() {
            true => "no migration file was found".to_owned(),
            false => format!("the apps are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        return Err(CliError::usage("unknown-app", format!("there is no app \"{unknown}\"")).hint(hint));
    }
    Ok(named.iter().cloned().collect())
}

fn warnings(state: &State, apps: &BTreeSet<String>) -> Vec<String> {
    let check = &state.check;
    let shown = |id: &MigrationId| apps.contains(&id.app);
    let changed = check.changed.iter().filter(|one| shown(&one.id));
    let changed = changed.map(|one| format!("{} was applied, and its file changed since", one.id));
    let missing = check.missing.iter().filter(|id| shown(id));
    let missing = missing.map(|id| format!("{id} is applied, but its file is not here"));
    let conflicts = check.conflicts.iter().filter(|one| apps.contains(&one.app)).map(|one| {
        let leaves: Vec<String> = one.leaves.iter().map(ToString::to_string).collect();
        format!("app \"{}\" has {} leaves: {}", one.app, leaves.len(), leaves.join(" and "))
    });
    let inconsistent = check.inconsistent.iter().filter(|one| shown(&one.applied));
    let inconsistent =
        inconsistent.map(|one| format!("{} is applied without {}, on which it depends", one.applied, one.dependency));
    let mixed = state.mixed.iter().filter(|(id, _)| shown(id));
    let mixed = mixed.map(|(id, run)| format!("the row of {id} is of run {run}, which this ledger does not know"));
    let unfinished = state.ledger.unfinished().map(|run| {
        let since = format_time(run.started_at);
        let is = match state.is_locked {
            true => "has not ended".to_owned(),
            false => format!("never ended: its lock is free, and {}", state.ledger.left_by(run)),
        };
        format!("run {} ({}) by {}@{} since {since} {is}", run.id, run.command, run.actor, run.host)
    });
    let half_done = state.ledger.half_done().into_iter().filter(|one| shown(&one.id));
    let half_done = half_done.map(|one| state.half_done_in_words(&one));
    let wrong = changed.chain(missing).chain(conflicts).chain(inconsistent).chain(mixed);
    wrong.chain(unfinished).chain(half_done).collect()
}

/// What `--check` stops at: pending or changed migrations, and what would stop every run.
fn findings(state: &State, rows: &[Row]) -> Option<String> {
    let count = |standing| rows.iter().filter(|row| row.standing == standing).count();
    let counts = [
        (count(Standing::Pending), "pending"),
        (count(Standing::HalfDone), "half done"),
        (count(Standing::Changed), "with a changed file"),
        (state.check.inconsistent.len(), "applied without a dependency"),
        (state.mixed.len(), "of another database's ledger"),
    ];
    let mut found: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", migrations(count)))
        .collect();
    found.extend(state.check.conflicts.iter().map(|one| format!("a conflict in app \"{}\"", one.app)));
    (!found.is_empty()).then(|| found.join(", "))
}

fn migrations(count: usize) -> String {
    format!("{count} migration{}", if count == 1 { "" } else { "s" })
}

fn rendered(state: &State, rows: &[Row], warnings: &[String], protected: (String, Value)) -> Outcome {
    let count = |standing| rows.iter().filter(|row| row.standing == standing).count();
    let (pending, half_done) = (count(Standing::Pending), count(Standing::HalfDone));
    let applied = rows.len() - pending - half_done;
    let last = state.ledger.runs.last();
    let (mut text, protection) = protected;
    let mut apps = serde_json::Map::new();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.id.app.as_str()).collect();
    for app in names {
        let own: Vec<&Row> = rows.iter().filter(|row| row.id.app == app).collect();
        let width = own.iter().map(|row| row.id.name.len()).max().unwrap_or_default();
        text.push_str(&format!("{app}\n"));
        own.iter().for_each(|row| text.push_str(&line(row, width)));
        apps.insert(app.to_owned(), own.iter().map(|row| value(state, row)).collect());
    }
    if rows.is_empty() {
        text.push_str("no migrations\n");
    }
    let squashes: Vec<&Squash> =
        state.migrations.squashes().iter().filter(|one| apps.contains_key(&one.migration.id.app)).collect();
    squashes.iter().filter_map(|one| squash_line(one)).for_each(|line| text.push_str(&line));
    let half = if half_done == 0 { String::new() } else { format!(", {half_done} half done") };
    let summary = format!("{applied} applied, {pending} pending{half}");
    text.push_str(&match last {
        Some(run) => format!("{summary}; last run {}\n", last_run(run)),
        None => format!("{summary}; no run yet\n"),
    });
    let value = json!({
        "apps": apps,
        "applied": applied,
        "pending": pending,
        "half_done": half_done,
        "ledger": state.ledger.present,
        "last_run": last,
        "squashes": squashes.iter().map(|one| squash_value(one)).collect::<Vec<_>>(),
        "warnings": warnings,
        "protection": protection,
    });
    Outcome::new(text, value)
}

/// `[X] menu/0001_initial   2026-11-22T14:02:10Z  run 20261122T140210Z-19be04  by ann@shop`, in the order of the graph.
fn in_order(state: &State, rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.id.to_string().len()).max().unwrap_or_default();
    let line = |row: &Row| {
        let (mark, id) = (row.standing.mark(), row.id.to_string());
        let Some(applied) = &row.applied else { return format!("{mark} {id}\n") };
        let by = by_whom(state, applied).map(|by| format!("  by {by}")).unwrap_or_default();
        let how = if applied.how == "apply" { String::new() } else { format!("  ({})", applied.how) };
        format!("{mark} {id:<width$}  {}  run {}{by}{how}\n", format_time(applied.applied_at), applied.run_id)
    };
    match rows {
        [] => "no migrations\n".to_owned(),
        rows => rows.iter().map(line).collect(),
    }
}

fn by_whom(state: &State, applied: &AppliedMigration) -> Option<String> {
    let run = state.ledger.runs.iter().find(|run| run.id == applied.run_id)?;
    Some(format!("{}@{}", run.actor, run.host))
}

/// What a squash means for the files that it replaces; none when those are gone.
fn squash_line(squash: &Squash) -> Option<String> {
    if squash.files.is_empty() {
        return None;
    }
    let (id, count) = (&squash.migration.id, migrations(squash.files.len()));
    Some(match squash.used {
        SquashUse::Applied | SquashUse::Pending => {
            format!("{id} replaces {count} whose files this database does not need any more\n")
        }
        SquashUse::Partly => {
            let names: Vec<&str> = squash.replaces.iter().map(|one| one.name.as_str()).collect();
            format!(
                "{id} waits: this database has some of what it replaces, and needs the files of {}\n",
                names.join(", ")
            )
        }
    })
}

fn squash_value(squash: &Squash) -> Value {
    json!({
        "migration": squash.migration.id,
        "replaces": squash.replaces,
        "files": squash.files,
        "files_needed": squash.used == SquashUse::Partly,
    })
}

fn last_run(run: &RunRecord) -> String {
    let ago = format_ago(run.started_at, OffsetDateTime::now_utc());
    format!("{} ({}): {}, {ago}", run.id, run.command, run.outcome.as_deref().unwrap_or("not ended"))
}

/// `  [X] 0001_initial   2026-11-22T14:02:10Z  run 20261122T140210Z-19be04`.
fn line(row: &Row, width: usize) -> String {
    let (mark, name) = (row.standing.mark(), &row.id.name);
    let Some(applied) = &row.applied else { return format!("  {mark} {name}\n") };
    let how = if applied.how == "apply" { String::new() } else { format!("  ({})", applied.how) };
    format!("  {mark} {name:<width$}  {}  run {}{how}\n", format_time(applied.applied_at), applied.run_id)
}

fn value(state: &State, row: &Row) -> Value {
    let applied = row.applied.as_ref();
    json!({
        "name": row.id.name,
        "state": row.standing.name(),
        "applied_at": applied.map(|applied| format_time(applied.applied_at)),
        "run_id": applied.map(|applied| &applied.run_id),
        "how": applied.map(|applied| &applied.how),
        "by": applied.and_then(|applied| by_whom(state, applied)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::{Migration, MigrationSet};
    use crate::postgres::Ledger;
    use time::macros::datetime;

    fn migration(id: &str, sql: &str) -> Migration {
        let text = format!("-- migrate:up\n{sql};\n");
        Migration::parse(id.parse().unwrap(), format!("{id}.sql").into(), text.as_bytes()).unwrap()
    }

    fn applied(migration: &Migration) -> AppliedMigration {
        AppliedMigration {
            id: migration.id.clone(),
            checksum: migration.checksum.to_string(),
            text: migration.text.clone(),
            applied_at: datetime!(2026-11-22 14:02:10 UTC),
            run_id: "20261122T140210Z-19be04".to_owned(),
            how: "apply".to_owned(),
        }
    }

    fn state(files: Vec<Migration>, applied: Vec<AppliedMigration>) -> State {
        let migrations = MigrationSet::new(files).unwrap();
        let check = migrations.check(&applied);
        State {
            migrations,
            ledger: Ledger { present: true, applied: applied.clone(), ..Ledger::default() },
            applied,
            check,
            mixed: Vec::new(),
            is_locked: false,
        }
    }

    #[test]
    fn each_migration_has_the_mark_of_where_it_stands() {
        let before = migration("a/0002_b", "SELECT 2");
        let gone = migration("a/0001_gone", "SELECT 0");
        let files =
            vec![migration("a/0001_a", "SELECT 1"), migration("a/0002_b", "SELECT 3"), migration("b/0001_c", "")];
        let rows_applied = vec![applied(&files[0]), applied(&before), applied(&gone)];
        let state = state(files, rows_applied);
        let rows = rows(&state);
        let marks: Vec<String> = rows.iter().map(|row| format!("{} {}", row.standing.mark(), row.id)).collect();
        assert_eq!(marks, ["[X] a/0001_a", "[!] a/0002_b", "[ ] b/0001_c", "[?] a/0001_gone"]);
        assert_eq!(line(&rows[0], 6), "  [X] 0001_a  2026-11-22T14:02:10Z  run 20261122T140210Z-19be04\n");
        let found = findings(&state, &rows);
        assert_eq!(found.as_deref(), Some("1 migration pending, 1 migration with a changed file"));
        assert_eq!(chosen_apps(&rows, &["c".to_owned()]).unwrap_err().hints, ["the apps are: a, b"]);
    }

    #[test]
    fn check_finds_nothing_where_all_is_applied() {
        let files = vec![migration("a/0001_a", "SELECT 1")];
        let applied = vec![applied(&files[0])];
        let state = state(files, applied);
        assert_eq!(findings(&state, &rows(&state)), None);
    }
}
