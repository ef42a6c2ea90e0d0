//! `--column C` of a column that is gone: it comes back with its definition, then its values, then what stood on it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::postgres::ArchiveEntry;
use crate::postgres::ledger::RecoveryRecord;
use crate::postgres::recovery::{self, ColumnDefinition, ColumnRows, Dependent, ForeignKey};
use crate::postgres::{RunRecord, Session, catalog};
use crate::report::format_list;

use super::super::{Error, manifest_parts};
use super::column::{self, check};
use super::plan::{Action, PartPlan};
use super::run::{Job, Opened};
use super::{Work, refused};

/// Kind of the record in the ledger.
pub(super) const KIND: &str = "column-returns";

/// A column that is made again.
pub(super) struct ReturnJob {
    rows: ColumnRows,
    definition: ColumnDefinition,
    dependents: Vec<Dependent>,
    foreign_keys: Vec<ForeignKey>,
    /// Archive entries that are made first.
    first: Vec<ArchiveEntry>,
    source: String,
}

/// Reads the definition of the column and of what stood on it, before the rows are there.
pub(super) async fn prepare(work: &Work<'_>, rows: ColumnRows) -> Result<ReturnJob, Error> {
    let (old, name) = (work.old, rows.column.as_str());
    let definition = ColumnDefinition::read(old, &work.table, name).await?;
    let roots = recovery::missing_objects_of_column(old, &work.table, name, &work.archive.entries).await?;
    let first = work.prerequisites(roots).await?;
    let present: Vec<String> =
        recovery::columns(&work.ground.live, rows.table.oid).await?.into_iter().map(|one| one.name).collect();
    let dependents = Dependent::on(old, &work.table, name).await?;
    let dependents = dependents
        .into_iter()
        .filter(|one| one.columns.iter().all(|column| column == name || present.contains(column)))
        .collect();
    let own = (work.table.schema.clone(), work.table.name.clone());
    let foreign_keys = recovery::foreign_keys(old, work.table.oid).await?;
    let foreign_keys =
        foreign_keys.into_iter().filter(|key| key.table == own && key.columns.iter().any(|one| one == name)).collect();
    Ok(ReturnJob { rows, definition, dependents, foreign_keys, first, source: String::new() })
}

impl Work<'_> {
    /// What of these archive entries, and of what they need, the live database lacks.
    async fn prerequisites(&self, roots: Vec<u32>) -> Result<Vec<ArchiveEntry>, Error> {
        let mut all = self.archive.entries.clone();
        // No entry has number 0: it stands for the wish.
        all.push(ArchiveEntry { needs: roots, ..ArchiveEntry::default() });
        self.prerequisites_of(&all, &BTreeSet::from([0])).await
    }

    /// What the wanted entries need and the live database lacks; refused by name when it cannot be made.
    pub(super) async fn prerequisites_of(
        &self,
        all: &[ArchiveEntry],
        wanted: &BTreeSet<u32>,
    ) -> Result<Vec<ArchiveEntry>, Error> {
        let (first, missing) = recovery::prerequisites(&self.ground.live, all, wanted).await?;
        if missing.is_empty() {
            return Ok(first);
        }
        Err(refused(
            format!("{} needs what the live database does not have: {}", self.table.display(), format_list(&missing)),
            "make it first, or restore the whole database beside with `safe-migrate restore`",
        ))
    }

    /// Makes entries of the archive in the live database; sequences go on where they stood.
    pub(super) async fn make_first(&self, entries: &[ArchiveEntry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let live = &self.ground.live;
        let ids: BTreeSet<u32> = entries.iter().map(|entry| entry.id).collect();
        let script = recovery::script(&self.ground.server.programs, &self.archive.path, &ids, None).await?;
        recovery::define(live, &script).await?;
        let made: Vec<_> = manifest_parts::sequences(self.manifest)
            .into_iter()
            .filter(|one| {
                entries.iter().any(|entry| {
                    entry.kind == "SEQUENCE" && entry.name == one.name && entry.schema.as_ref() == Some(&one.schema)
                })
            })
            .collect();
        Ok(catalog::set_sequences(live, &made).await?)
    }
}

/// Names of entries for the plan.
pub(super) fn names(entries: &[ArchiveEntry]) -> Vec<String> {
    let real = entries.iter().filter(|entry| !["ACL", "COMMENT"].contains(&entry.kind.as_str()));
    real.map(|entry| format!("{} {}", entry.kind.to_lowercase(), entry.name)).collect()
}

/// Stages the keys and counts which rows get a value back.
pub(super) async fn count(work: &Work<'_>, mut job: ReturnJob, source: String) -> Result<(Job, PartPlan), Error> {
    let live = &work.ground.live;
    // The values' own type may not be there yet; their text is enough for counting.
    let value = if job.first.is_empty() { job.definition.type_name.as_str() } else { "text" };
    job.rows.make_stage(live, Some(value)).await?;
    column::stage(work, &job.rows, &source).await?;
    let counts = job.rows.counts(live, false, false).await?;
    column::refuse_duplicates(&job.rows, counts)?;
    let mut plan = column::plan(work.plan(Action::ColumnReturns), &job.rows, counts);
    plan.triggers = recovery::user_triggers(live, job.rows.table.oid).await?;
    plan.makes_first = names(&job.first);
    for key in &job.foreign_keys {
        plan.foreign_keys.push(match left_out(live, &job, key).await? {
            Ok(()) => check(key, 0, None),
            Err((orphans, why)) => check(key, orphans, Some(why)),
        });
    }
    plan.notes.push(format!(
        "{} comes back as {}{}",
        job.rows.column,
        described(&job.definition),
        beside(&job.dependents)
    ));
    if work.request.batch.is_some() {
        plan.notes.push("in one transaction, not in batches: the column is made in it".to_owned());
    }
    job.source = source;
    Ok((Job::ColumnReturns(job), plan))
}

fn described(definition: &ColumnDefinition) -> String {
    let null = if definition.not_null { " NOT NULL" } else { "" };
    let default = definition.default.as_ref().map(|default| format!(" DEFAULT {default}")).unwrap_or_default();
    format!("{}{default}{null}", definition.type_name)
}

fn beside(dependents: &[Dependent]) -> String {
    let names: Vec<String> = dependents.iter().map(|one| format!("{} {}", one.kind, one.name)).collect();
    if names.is_empty() { String::new() } else { format!(", with {}", format_list(&names)) }
}

/// Why a foreign key would not hold for the staged values.
async fn left_out(live: &Session, job: &ReturnJob, key: &ForeignKey) -> Result<Result<(), (u64, String)>, Error> {
    let target = recovery::relation(live, &key.references.0, &key.references.1).await?;
    let Some(target) = target else { return Ok(Err((0, format!("{} is not there", key.to())))) };
    let names: Vec<String> = recovery::columns(live, target.oid).await?.into_iter().map(|one| one.name).collect();
    if !key.referenced.iter().all(|name| names.contains(name)) {
        return Ok(Err((0, format!("{} lacks a column that it points to", key.to()))));
    }
    // Staged as text the values cannot be compared with what they point to; the run itself counts again.
    if !job.first.is_empty() {
        return Ok(Ok(()));
    }
    let orphans = job.rows.orphans(live, key, false).await?;
    Ok(if orphans == 0 { Ok(()) } else { Err((orphans, orphans_are(orphans, key))) })
}

pub(super) fn orphans_are(orphans: u64, key: &ForeignKey) -> String {
    format!("{} would point to nothing in {}", crate::report::format_things(orphans, "row"), key.to())
}

/// Makes the column, writes its values, and puts back what stood on it as far as it holds.
pub(super) async fn write(work: &Work<'_>, job: &ReturnJob, run: &RunRecord) -> Result<Opened, Error> {
    let (live, rows, table) = (&work.ground.live, &job.rows, &job.rows.table);
    work.make_first(&job.first).await?;
    if !job.first.is_empty() {
        rows.make_stage(live, Some(&job.definition.type_name)).await?;
        column::stage(work, rows, &job.source).await?;
    }
    recovery::define(live, &job.definition.add(table)).await?;
    let (_, other) = rows.write(live, (0, i64::MAX), None, false).await?;
    column::refuse_trigger(rows, other)?;
    let changed = rows.counts(live, true, false).await?.matched;
    let mut notes = Vec::new();
    let mut made = Vec::new();
    if let Some(sql) = job.definition.refuse_null(table) {
        let nulls = rows.nulls(live).await?;
        if nulls == 0 {
            recovery::define(live, &sql).await?;
        } else {
            let rows = crate::report::format_things(nulls, "row");
            notes.push(format!("{} is not NOT NULL again: {rows} without a value", rows_column(job)));
        }
    }
    if let Some(sql) = job.definition.identity(table)
        && let Some(words) = recovery::attempt(live, &sql).await?
    {
        notes.push(format!("{} is no identity column again: {words}", rows_column(job)));
    }
    for one in &job.dependents {
        let words = match job.foreign_keys.iter().find(|key| one.foreign_key && key.name == one.name) {
            Some(key) => add_foreign_key(live, key).await?,
            None => recovery::attempt(live, &one.sql).await?,
        };
        match words {
            None => made.push(one.name.clone()),
            Some(words) => notes.push(format!("{} {} is not back: {words}", one.kind, one.name)),
        }
    }
    let record = RecoveryRecord {
        run_id: run.id.clone(),
        kind: KIND.to_owned(),
        schema: table.schema.clone(),
        table: table.name.clone(),
        column: Some(rows.column.clone()),
        saved: None,
        details: json!({ "made": made, "snapshot": run.snapshot_id }),
        undone_by: None,
    };
    Ok(Opened { record, notes, changed })
}

fn rows_column(job: &ReturnJob) -> &str {
    &job.rows.column
}

/// Adds a foreign key when no row is against it; why it was left out otherwise.
pub(super) async fn add_foreign_key(live: &Session, key: &ForeignKey) -> Result<Option<String>, Error> {
    for (schema, name) in [&key.table, &key.references] {
        if recovery::relation(live, schema, name).await?.is_none() {
            return Ok(Some(format!("{schema}.{name} is not there")));
        }
    }
    let orphans = recovery::unmatched(live, key, &key.table_quoted(), &key.references_quoted()).await?;
    if orphans > 0 {
        return Ok(Some(orphans_are(orphans, key)));
    }
    Ok(recovery::attempt(live, &key.sql()).await?)
}
