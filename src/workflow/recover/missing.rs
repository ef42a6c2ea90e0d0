//! `--mode missing`: rows of the snapshot whose primary key the live table lacks are inserted; present rows stay.

use serde_json::json;

use crate::postgres::ledger::RecoveryRecord;
use crate::postgres::recovery::{self, MissingRows, Relation};
use crate::postgres::{RunRecord, Session};

use crate::report::format_things;

use super::super::Error;
use super::column::{check, key_of};
use super::column_returns::orphans_are;
use super::plan::{Action, ForeignKeyCheck, PartPlan};
use super::run::{Job, Opened};
use super::{Work, refused};

/// Kind of the record in the ledger.
pub(super) const KIND: &str = "missing";

/// Rows that are staged, to be inserted where they are missing.
pub(super) struct MissingJob {
    pub(super) rows: MissingRows,
    /// Rows that are staged.
    pub(super) staged: u64,
    only_old: Vec<String>,
    only_live: Vec<String>,
}

/// Looks whether rows can be matched and inserted.
pub(super) async fn prepare(work: &Work<'_>, present: &Relation) -> Result<MissingJob, Error> {
    let old = recovery::columns(&work.old, work.table.oid).await?;
    let now = recovery::columns(&work.ground.live, present.oid).await?;
    let names: Vec<String> = old.iter().map(|column| column.name.clone()).collect();
    let key = key_of(&work.ground.live, present, &names).await?;
    let is_old = |name: &str| names.iter().any(|one| one == name);
    let (brought, kept): (Vec<_>, Vec<_>) =
        now.iter().filter(|column| !column.generated).partition(|column| is_old(&column.name));
    let needs_value =
        |column: &&&recovery::Column| column.not_null && column.default.is_none() && column.identity.is_none();
    if let Some(column) = kept.iter().find(needs_value) {
        return Err(refused(
            format!(
                "{} of {} refuses null, has no default, and is not in the snapshot: old rows have no value for it",
                column.name,
                present.display()
            ),
            "give it a default for the time of the recovery, or use --mode beside",
        ));
    }
    let only_old = names.iter().filter(|name| !now.iter().any(|column| column.name == **name)).cloned().collect();
    Ok(MissingJob {
        rows: MissingRows {
            table: present.clone(),
            key,
            columns: brought.iter().map(|column| column.name.clone()).collect(),
            all_columns: now.iter().map(|column| column.name.clone()).collect(),
        },
        staged: 0,
        only_old,
        only_live: kept.iter().map(|column| column.name.clone()).collect(),
    })
}

/// Stages the rows beside the live table, counts, and refuses what a foreign key or a unique index would refuse.
pub(super) async fn count(work: &Work<'_>, mut job: MissingJob, source: &str) -> Result<(Job, PartPlan), Error> {
    let live = &work.ground.live;
    job.rows.make_stage(live).await?;
    let (stage, columns) = job.rows.stage();
    recovery::transfer(&work.old, &job.rows.query(source), live, (stage, &columns), work.encoding(), |_| ()).await?;
    job.rows.analyze(live).await?;
    let counts = job.rows.counts(live).await?;
    let mut plan = work.plan(Action::Missing);
    plan.snapshot_rows = counts.staged;
    plan.live_rows = counts.live;
    plan.inserts = counts.missing;
    plan.only_snapshot = counts.missing;
    plan.unchanged = counts.staged.saturating_sub(counts.missing);
    plan.only_live = counts.live.saturating_sub(plan.unchanged);
    plan.columns_only_snapshot = std::mem::take(&mut job.only_old);
    plan.columns_only_live = std::mem::take(&mut job.only_live);
    plan.triggers = recovery::user_triggers(live, job.rows.table.oid).await?;
    plan.foreign_keys = check_rows(live, &job.rows, plan.inserts, work.request.batch.is_some()).await?;
    job.staged = counts.staged;
    Ok((Job::Missing(job), plan))
}

/// Counts what foreign keys and unique indexes would refuse, and refuses with the numbers.
pub(super) async fn check_rows(
    live: &Session,
    rows: &MissingRows,
    inserts: u64,
    batches: bool,
) -> Result<Vec<ForeignKeyCheck>, Error> {
    let own = (rows.table.schema.clone(), rows.table.name.clone());
    let mut broken = Vec::new();
    let mut checked = Vec::new();
    for key in recovery::foreign_keys(live, rows.table.oid).await? {
        if key.table != own {
            continue;
        }
        if key.is_own() && batches {
            return Err(refused(
                format!("{} points to its own table, so the rows belong into one transaction", key.name),
                "leave --batch out",
            ));
        }
        if let Some(orphans) = rows.orphans(live, &key).await? {
            if orphans > 0 {
                broken.push(format!("{} ({})", orphans_are(orphans, &key), key.name));
            }
            checked.push(check(&key, orphans, None));
        }
    }
    for (index, number) in rows.collisions(live).await? {
        let rows = format_things(number, "row");
        broken.push(format!("{rows} with a value that a present row has ({index})"));
    }
    if !broken.is_empty() {
        let of = format!("of {} missing in {}", format_things(inserts, "row"), rows.table.display());
        return Err(refused(
            format!("{of}, {}", broken.join("; ")),
            "bring back what they point to first, or choose rows with --where",
        ));
    }
    Ok(checked)
}

/// Makes the table that keeps what is inserted, and says what undoing needs.
pub(super) async fn open(live: &Session, job: &MissingJob, run: &RunRecord) -> Result<Opened, Error> {
    let (saved, name) = recovery::saved_table(&run.id);
    job.rows.make_saved(live, &saved).await?;
    Ok(Opened { record: record(job, run, KIND, name), notes: Vec::new(), changed: 0 })
}

pub(super) fn record(job: &MissingJob, run: &RunRecord, kind: &str, saved: String) -> RecoveryRecord {
    RecoveryRecord {
        run_id: run.id.clone(),
        kind: kind.to_owned(),
        schema: job.rows.table.schema.clone(),
        table: job.rows.table.name.clone(),
        column: None,
        saved: Some(saved),
        details: json!({ "columns": job.rows.all_columns }),
        undone_by: None,
    }
}

/// Inserts some of the staged rows.
pub(super) async fn write(
    live: &Session,
    job: &MissingJob,
    range: (i64, i64),
    record: &RecoveryRecord,
) -> Result<u64, Error> {
    let saved = record.saved.as_deref().map(recovery::saved_name).unwrap_or_default();
    Ok(job.rows.insert(live, range, &saved).await?)
}

impl MissingJob {
    /// The job of an undo: rows that an earlier run kept.
    pub(super) fn of_saved(rows: MissingRows, staged: u64) -> Self {
        Self { rows, staged, only_old: Vec::new(), only_live: Vec::new() }
    }
}
