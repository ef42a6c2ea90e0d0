//! A whole table: beside the present one, back after it was dropped, or in the place of the present one.

use std::collections::BTreeSet;

use serde_json::json;

use crate::postgres::ArchiveEntry;
use crate::postgres::ledger::RecoveryRecord;
use crate::postgres::recovery::{self, DefinitionError, ForeignKey, Relation, Renamed, TableScripts};
use crate::postgres::{RunRecord, catalog, qualified};
use crate::report::format_list;
use crate::snapshot::RowSetHash;

use super::super::{Error, manifest_parts};
use super::column::check;
use super::column_returns::{add_foreign_key, names, orphans_are};
use super::plan::{Action, ForeignKeyCheck, Mode, PartPlan};
use super::run::{Job, Opened};
use super::{Work, refused};

/// A table that is made in the live database.
pub(super) struct WholeJob {
    action: Action,
    scripts: TableScripts,
    first: Vec<ArchiveEntry>,
    /// New names, when it is put beside the present one.
    names: Vec<Renamed>,
    foreign_keys: Vec<ForeignKey>,
    columns: Vec<String>,
    sequences: Vec<(String, String)>,
    source: String,
}

/// `_restored_20261122t135823z_7f3a9c`: an id as the tail of a name that needs no quotes.
fn tail(word: &str, id: &str) -> String {
    format!("_{word}_{}", id.to_lowercase().replace('-', "_"))
}

/// Reads the definition, before the rows are there.
pub(super) async fn prepare(work: &Work<'_>) -> Result<WholeJob, Error> {
    let (old, live, table) = (work.old, &work.ground.live, &work.table);
    let action = match (&work.present, work.request.mode) {
        (None, _) => Action::TableReturns,
        (Some(present), Mode::Replace) => {
            refuse_bound(work, present).await?;
            Action::Replace
        }
        (Some(_), _) => Action::Beside,
    };
    let quiet = action == Action::Beside;
    let columns = recovery::columns(old, table.oid).await?;
    let columns = columns.into_iter().filter(|column| !column.generated).map(|column| column.name).collect();
    let own = (table.schema.clone(), table.name.clone());
    let mut foreign_keys = recovery::foreign_keys(old, table.oid).await?;
    // Keys of other tables went with the table when it was dropped; beside it none is wanted, as it would bind the
    // rows that it points to.
    foreign_keys.retain(|key| !quiet && (key.table == own || action == Action::TableReturns));
    let sequences = recovery::owned_sequences(old, table.oid).await?;
    let first = work.prerequisites_of(&work.archive.entries, &wanted(work, &sequences, quiet).await?).await?;
    let names = if quiet {
        recovery::rename_for(old, table, &tail("restored", work.manifest.id.as_str()), live).await?
    } else {
        Vec::new()
    };
    recovery::rename_all(old, &names).await?;
    let parts = recovery::tree(old, table.oid).await?;
    let programs = &work.ground.server.programs;
    let scripts = recovery::table_scripts(programs, (&work.scratch.spec, old), &parts, quiet, work.files).await;
    recovery::rename_all(old, &recovery::way_back(&names)).await?;
    let scripts = scripts.map_err(|error| match error {
        DefinitionError::Archive(error) => Error::from(error),
        DefinitionError::Database(error) => Error::from(error),
    })?;
    Ok(WholeJob { action, scripts, first, names, foreign_keys, columns, sequences, source: String::new() })
}

/// The archive's entries of the table, its partitions, and what is made with them.
async fn wanted(work: &Work<'_>, sequences: &[(String, String)], quiet: bool) -> Result<BTreeSet<u32>, Error> {
    let parts = recovery::tree(work.old, work.table.oid).await?;
    let is_one = |list: &[(String, String)], entry: &ArchiveEntry| {
        list.iter().any(|(schema, name)| entry.name == *name && entry.schema.as_ref() == Some(schema))
    };
    let entries = &work.archive.entries;
    let tables = entries.iter().filter(|entry| entry.kind == "TABLE" && is_one(&parts, entry));
    let tables: BTreeSet<u32> = tables.map(|entry| entry.id).collect();
    let made_with = |entry: &&ArchiveEntry| match entry.kind.as_str() {
        "TABLE" => tables.contains(&entry.id),
        // They belong to the table and are made with it.
        "SEQUENCE" => is_one(sequences, entry),
        "DEFAULT" | "INDEX" | "CONSTRAINT" | "CHECK CONSTRAINT" | "POLICY" => {
            entry.needs.iter().any(|need| tables.contains(need))
        }
        "TRIGGER" | "RULE" => !quiet && entry.needs.iter().any(|need| tables.contains(need)),
        _ => false,
    };
    Ok(entries.iter().filter(made_with).map(|entry| entry.id).collect())
}

/// Refuses to rename a table that others point to: their views and foreign keys would go on pointing at the renamed
/// one, in silence. They are not re-pointed: a view would have to be made anew, with all that stands on it.
pub(super) async fn refuse_bound(work: &Work<'_>, present: &Relation) -> Result<(), Error> {
    let bound = bound_to(&work.ground.live, present).await?;
    if bound.is_empty() {
        return Ok(());
    }
    Err(refused(
        format!("{} would go on pointing at the renamed table: {}", present.display(), format_list(&bound)).replacen(
            &present.display(),
            &format!("what depends on {}", present.display()),
            1,
        ),
        "--mode missing and --column bring rows and values back into the present table; \
         --mode beside makes one to look at",
    ))
}

/// What depends on a table by name of the object, and would follow it under another name.
pub(super) async fn bound_to(live: &crate::postgres::Session, table: &Relation) -> Result<Vec<String>, Error> {
    let mut bound = recovery::dependents(live, table.oid, 0).await?;
    let own = (table.schema.clone(), table.name.clone());
    let keys = recovery::foreign_keys(live, table.oid).await?;
    let incoming = keys.iter().filter(|key| key.references == own && !key.is_own());
    bound.extend(incoming.map(|key| format!("foreign key {} of {}", key.name, key.of())));
    if table.partition {
        bound.push("the partitioned table that it is part of".to_owned());
    }
    if table.has_children {
        bound.push("tables that inherit from it".to_owned());
    }
    Ok(bound)
}

/// Counts rows and orphans.
pub(super) async fn count(work: &Work<'_>, mut job: WholeJob, source: String) -> Result<(Job, PartPlan), Error> {
    let (live, table) = (&work.ground.live, &work.table);
    let mut plan = work.plan(job.action);
    plan.snapshot_rows = recovery::count_rows(work.old, &source).await?;
    plan.inserts = plan.snapshot_rows;
    plan.only_snapshot = plan.snapshot_rows;
    if let Some(present) = &work.present {
        plan.live_rows = recovery::count_rows(live, &present.rows()).await?;
    }
    plan.makes_first = names(&job.first);
    match job.action {
        Action::Beside => {
            let (schema, name) = job.made(table);
            plan.makes = Some(format!("{schema}.{name}"));
            plan.notes.push("without its foreign keys, triggers and rules: nothing else is touched".to_owned());
        }
        Action::Replace => plan.keeps = Some(format!("{}_before_RUN", table.display())),
        _ => {
            for view in recovery::views_missing(work.old, table.oid, live).await? {
                plan.notes.push(format!("{view} read it and is gone too: it does not come back by this"));
            }
        }
    }
    if table.partition && job.action != Action::Beside {
        plan.notes.push("it was a partition, and is attached again where its parent takes it".to_owned());
    }
    for key in &job.foreign_keys {
        plan.foreign_keys.push(check_key(work, key, &source).await?);
    }
    job.source = source;
    Ok((Job::Whole(job), plan))
}

/// Counts the orphans of a foreign key of the table, or to it, with the rows that would be there.
async fn check_key(work: &Work<'_>, key: &ForeignKey, source: &str) -> Result<ForeignKeyCheck, Error> {
    let (live, old, table) = (&work.ground.live, work.old, &work.table);
    let own = (table.schema.clone(), table.name.clone());
    let outgoing = key.table == own;
    let orphans = if key.is_own() {
        recovery::unmatched(old, key, source, source).await?
    } else {
        let (other, needed) = if outgoing { (&key.references, &key.referenced) } else { (&key.table, &key.columns) };
        let Some(there) = recovery::relation(live, &other.0, &other.1).await? else {
            return Ok(check(key, 0, Some(format!("{}.{} is not there", other.0, other.1))));
        };
        let columns: Vec<String> = recovery::columns(live, there.oid).await?.into_iter().map(|one| one.name).collect();
        if let Some(lacks) = needed.iter().find(|name| !columns.contains(name)) {
            return Ok(check(key, 0, Some(format!("{} has no column {lacks}", there.display()))));
        }
        let (mine, types) =
            if outgoing { (&key.columns, &key.types) } else { (&key.referenced, &key.referenced_types) };
        let (stage, staged) = recovery::stage_key(live, mine, types).await?;
        let query = recovery::rows_query(mine, source);
        recovery::transfer(old, &query, live, (stage, &staged), work.encoding(), |_| ()).await?;
        match outgoing {
            true => recovery::unmatched(live, key, stage, &key.references_quoted()).await?,
            false => recovery::unmatched(live, key, &key.table_quoted(), stage).await?,
        }
    };
    Ok(check(key, orphans, (orphans > 0).then(|| orphans_are(orphans, key))))
}

impl WholeJob {
    /// Schema and name of the table that is made.
    fn made(&self, table: &Relation) -> (String, String) {
        let renamed =
            self.names.iter().find(|one| one.kind == "TABLE" && one.from == table.name && one.schema == table.schema);
        (table.schema.clone(), renamed.map_or_else(|| table.name.clone(), |one| one.to.clone()))
    }
}

/// Makes the table, copies its rows, and puts back what belongs to it.
pub(super) async fn write(work: &Work<'_>, job: &WholeJob, run: &RunRecord) -> Result<Opened, Error> {
    let (live, table) = (&work.ground.live, &work.table);
    let mut moved = Vec::new();
    if let (Action::Replace, Some(present)) = (job.action, &work.present) {
        recovery::lock_alone(live, present).await?;
        refuse_bound(work, present).await?;
        moved = recovery::rename_for(live, present, &tail("before", &run.id), live).await?;
        recovery::rename_all(live, &moved).await?;
    }
    work.make_first(&job.first).await?;
    recovery::define(live, &job.scripts.before).await?;
    let (schema, name) = job.made(table);
    let hash = copy_rows(work, job, &qualified(&schema, &name)).await?;
    set_sequences(work, job).await?;
    recovery::define(live, &job.scripts.after).await?;
    let mut notes = Vec::new();
    if let Some(attach) = &job.scripts.attach
        && let Err(why) = recovery::attach(live, attach).await?
    {
        notes.push(format!("it is a table of its own, because its parent does not take it: {why}; by hand: {attach}"));
    }
    let mut keys = Vec::new();
    for key in &job.foreign_keys {
        match add_foreign_key(live, key).await? {
            None if key.table != (table.schema.clone(), table.name.clone()) => {
                keys.push(json!([key.table.0, key.table.1, key.name]))
            }
            None => {}
            Some(words) => notes.push(format!("foreign key {} of {} is not back: {words}", key.name, key.of())),
        }
    }
    let Some(made) = recovery::relation(live, &schema, &name).await? else {
        return Err(Error::RestoreRefused(format!("{schema}.{name} was not made")));
    };
    recovery::analyze(live, &made).await?;
    if let Some(kept) = moved.iter().find(|one| one.kind == "TABLE" && one.from == table.name) {
        notes.push(format!("the table that was there is kept as {}.{}", kept.schema, kept.to));
    }
    let record = RecoveryRecord {
        run_id: run.id.clone(),
        kind: kind(job.action).to_owned(),
        schema,
        table: name,
        column: None,
        saved: None,
        details: json!({
            "oid": made.oid, "columns": job.columns, "rows": hash, "moved": moved, "foreign_keys": keys,
            "lc_monetary": manifest_parts::lc_monetary(work.manifest), "encoding": work.encoding(),
        }),
        undone_by: None,
    };
    Ok(Opened { record, notes, changed: hash.rows })
}

fn kind(action: Action) -> &'static str {
    match action {
        Action::Replace => "replace",
        Action::Beside => "beside",
        _ => "table-returns",
    }
}

async fn copy_rows(work: &Work<'_>, job: &WholeJob, into: &str) -> Result<RowSetHash, Error> {
    let mut hash = RowSetHash::default();
    let query = recovery::rows_query(&job.columns, &job.source);
    let columns = recovery::quoted_columns(&job.columns);
    let live = &work.ground.live;
    recovery::transfer(work.old, &query, live, (into, &columns), work.encoding(), |row| hash.add_row(row)).await?;
    Ok(hash)
}

async fn set_sequences(work: &Work<'_>, job: &WholeJob) -> Result<(), Error> {
    let mut values = manifest_parts::sequences(work.manifest);
    values.retain(|one| job.sequences.contains(&(one.schema.clone(), one.name.clone())));
    for value in &mut values {
        let renamed =
            job.names.iter().find(|one| one.kind == "SEQUENCE" && one.from == value.name && one.schema == value.schema);
        if let Some(renamed) = renamed {
            value.name.clone_from(&renamed.to);
        }
    }
    Ok(catalog::set_sequences(&work.ground.live, &values).await?)
}
