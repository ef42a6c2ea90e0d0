//! `restore --undo RUN` of a recovery: what was written is taken back where it still is what was written.
//!
//! An undo is a run of its own, and is recorded so that it can be undone as well.

use crate::postgres::ledger::{self, RecoveryRecord};
use crate::postgres::recovery::{self, ColumnRows, Key, MissingRows, Relation, SavedColumns};
use crate::postgres::{ConnectionError, RunRecord, ServerClock};
use crate::report::format_things;

use super::super::{Error, Interrupt, Operator, Project, run_record};
use super::run::{Job, as_run};
use super::{Ground, column, column_returns, missing, refused, undo_table};

/// What an undo did.
#[derive(Clone, Debug)]
pub struct PartUndoReport {
    /// The run that was taken back.
    pub undone: String,
    /// `schema.table`; several of them with commas between.
    pub table: String,
    /// What was done, in one line.
    pub summary: String,
    /// Rows or values that were taken back.
    pub changed: u64,
    /// Rows that changed since and were kept as they are.
    pub kept: u64,
    /// Tables that keep what the undo wrote over or took out.
    pub saved: Vec<String>,
    /// What else the operator should know.
    pub notes: Vec<String>,
    /// The run.
    pub run: RunRecord,
}

/// Takes a recovery of a part back; none when that run is no such recovery.
pub async fn undo_part(
    project: &Project,
    run_id: &str,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Option<PartUndoReport>, Error> {
    let session = match project.target.connect("safe-migrate").await {
        Err(ConnectionError::DatabaseMissing { .. }) => return Ok(None),
        session => session?,
    };
    if !ledger::recoveries(&session).await?.iter().any(|one| one.run_id == run_id) {
        return Ok(None);
    }
    session.close().await;
    let store = project.open_or_create_store().await?;
    let ground = Ground::take_lock(project, store, operator, interrupt).await?;
    // Under the lock, what was read before may be old.
    let all = ledger::recoveries(&ground.live).await?;
    let Some(record) = all.iter().find(|one| one.run_id == run_id) else { return Ok(None) };
    refuse_buried(record, &all)?;
    let (job, summary, kept) = job_of(&ground, record).await?;
    operator.step(&summary);
    ground.confirm(&format!("{summary} ({})?", project.target.display()))?;
    let run =
        run_record::start(project, &format!("restore --undo {run_id}"), ServerClock::read(&ground.live).await?).await;
    let done = as_run(&ground, None, run, job, None, Some(record)).await?;
    Ok(Some(PartUndoReport {
        undone: run_id.to_owned(),
        table: names(record).join(", "),
        summary,
        changed: done.changed,
        kept,
        saved: done.saved,
        notes: done.notes,
        run: done.run,
    }))
}

/// `schema.table` of each of its tables.
fn names(record: &RecoveryRecord) -> Vec<String> {
    record.tables().iter().map(|part| format!("{}.{}", part.schema, part.table)).collect()
}

/// Refuses a run that is undone, or on which a later recovery stands.
fn refuse_buried(record: &RecoveryRecord, all: &[RecoveryRecord]) -> Result<(), Error> {
    if let Some(by) = &record.undone_by {
        return Err(refused(
            format!("run {} is undone already, by run {by}", record.run_id),
            &format!("to take that back: safe-migrate restore --undo {by}"),
        ));
    }
    let later = all.iter().skip_while(|one| one.run_id != record.run_id).skip(1);
    let on_it = |one: &&RecoveryRecord| {
        let same_table = names(one).iter().any(|name| names(record).contains(name));
        let same_column = one.column.is_none() || record.column.is_none() || one.column == record.column;
        same_table && same_column && one.undone_by.is_none()
    };
    match later.filter(on_it).last() {
        None => Ok(()),
        Some(one) => Err(refused(
            format!("run {} recovered {} later", one.run_id, names(one).join(", ")),
            &format!("undo that one first: safe-migrate restore --undo {}", one.run_id),
        )),
    }
}

/// The job that takes a recovery back, in words, and how many rows stay because they changed since.
async fn job_of(ground: &Ground<'_>, record: &RecoveryRecord) -> Result<(Job, String, u64), Error> {
    let table = there(ground, record).await?;
    match record.kind.as_str() {
        column::KIND => values(ground, record, table).await,
        missing::KIND => undo_table::inserted(ground, record).await,
        undo_table::TAKEN_OUT => inserted_again(ground, record).await,
        column_returns::KIND => undo_table::returned_column(ground, record, table).await,
        "beside" | "table-returns" => undo_table::made(ground, record, table).await,
        "replace" => undo_table::replaced(ground, record, table).await,
        _ => Err(refused(
            format!("run {} took back a column or a table that had come back", record.run_id),
            "bring it back from the snapshot: safe-migrate restore ID --table TABLE",
        )),
    }
}

async fn there(ground: &Ground<'_>, record: &RecoveryRecord) -> Result<Relation, Error> {
    let table = recovery::relation(&ground.live, &record.schema, &record.table).await?;
    table.ok_or_else(|| {
        refused(
            format!("{}.{} is not there any more", record.schema, record.table),
            "bring it back first: safe-migrate restore --table",
        )
    })
}

fn text(record: &RecoveryRecord, name: &str) -> String {
    record.details[name].as_str().unwrap_or_default().to_owned()
}

/// The present primary key, when it still is the one by which the rows were saved.
async fn key_of(ground: &Ground<'_>, table: &Relation, record: &RecoveryRecord) -> Result<Key, Error> {
    let saved: Option<Vec<String>> = serde_json::from_value(record.details["key"].clone()).ok();
    let key = recovery::primary_key(&ground.live, table.oid).await?;
    let same = |key: &Key| saved.as_ref().is_none_or(|saved| key.columns.iter().map(|one| &one.name).eq(saved));
    key.filter(same).ok_or_else(|| {
        refused(
            format!("the primary key of {} is not the one by which run {} saved rows", table.display(), record.run_id),
            "what it wrote over is in the saved table that the ledger names",
        )
    })
}

async fn values(ground: &Ground<'_>, record: &RecoveryRecord, table: Relation) -> Result<(Job, String, u64), Error> {
    let live = &ground.live;
    let (Some(column), Some(saved)) = (&record.column, &record.saved) else {
        return Err(refused(format!("run {} saved nothing", record.run_id), "restore from a snapshot"));
    };
    let key = key_of(ground, &table, record).await?;
    if recovery::column_number(live, &table, column).await?.is_none() {
        return Err(refused(
            format!("{} has no column {column} any more", table.display()),
            "bring it back first: safe-migrate restore --table … --column …",
        ));
    }
    let rows = ColumnRows { table, key, column: column.clone() };
    let names = SavedColumns { old: text(record, "old"), new: text(record, "new") };
    rows.make_stage(live, None).await?;
    rows.stage_saved(live, &recovery::saved_name(saved), &names).await?;
    rows.analyze(live).await?;
    let counts = rows.counts(live, true, true).await?;
    column::check_keys(live, &rows).await?;
    let mut summary = format!(
        "take back {column} in {} of {}, as it was before run {}",
        format_things(counts.overwrite, "row"),
        rows.table.display(),
        record.run_id
    );
    let gone = counts.staged.saturating_sub(counts.matched);
    for (number, what) in [(counts.changed_since, "changed since and kept"), (gone, "deleted since")] {
        if number > 0 {
            summary.push_str(&format!("; {}: {}", what, format_things(number, "row")));
        }
    }
    let saved = SavedColumns::beside(&rows.key);
    let job = column::ColumnJob { rows, saved, staged: counts.staged, guarded: true };
    Ok((Job::Column(job), summary, counts.changed_since))
}

/// Rows of each saved table with the columns that the live table still has, and the quoted name of the saved one.
pub(super) async fn saved_rows(
    ground: &Ground<'_>,
    record: &RecoveryRecord,
) -> Result<Vec<(MissingRows, String)>, Error> {
    let mut tables = Vec::new();
    for (place, part) in record.tables().iter().enumerate() {
        tables.push(saved_rows_of(ground, part, place).await?);
    }
    Ok(tables)
}

async fn saved_rows_of(
    ground: &Ground<'_>,
    record: &RecoveryRecord,
    place: usize,
) -> Result<(MissingRows, String), Error> {
    let live = &ground.live;
    let table = there(ground, record).await?;
    let key = key_of(ground, &table, record).await?;
    let saved = record.saved.clone().unwrap_or_default();
    let Some(kept) = recovery::relation(live, "safe_migrate", &saved).await? else {
        return Err(refused(
            format!("table safe_migrate.{saved}, in which run {} kept its rows, is gone", record.run_id),
            "restore from a snapshot",
        ));
    };
    let kept: Vec<String> = recovery::columns(live, kept.oid).await?.into_iter().map(|one| one.name).collect();
    let columns = recovery::columns(live, table.oid).await?;
    let common = columns.iter().filter(|one| !one.generated && kept.contains(&one.name));
    let rows = MissingRows {
        key,
        columns: common.map(|one| one.name.clone()).collect(),
        all_columns: columns.iter().map(|one| one.name.clone()).collect(),
        table,
        place,
    };
    Ok((rows, recovery::saved_name(&saved)))
}

async fn inserted_again(ground: &Ground<'_>, record: &RecoveryRecord) -> Result<(Job, String, u64), Error> {
    let live = &ground.live;
    let tables = saved_rows(ground, record).await?;
    let (mut counts, mut what, mut kept) = (Vec::new(), Vec::new(), 0);
    for (rows, saved) in &tables {
        rows.make_stage(live).await?;
        rows.stage_saved(live, saved).await?;
        rows.analyze(live).await?;
        let found = rows.counts(live).await?;
        what.push(format!("{} into {}", format_things(found.missing, "row"), rows.table.display()));
        kept += found.staged.saturating_sub(found.missing);
        counts.push(found);
    }
    let together: Vec<&MissingRows> = tables.iter().map(|(rows, _)| rows).collect();
    for (rows, found) in together.iter().zip(&counts) {
        missing::check_rows(live, (rows, &together), found.missing, false).await?;
    }
    let summary = format!("insert {} again, which run {} took out", what.join(" and "), record.run_id);
    let staged = tables.into_iter().zip(counts).map(|((rows, _), found)| (rows, found.staged)).collect();
    Ok((Job::Missing(missing::MissingJob::of_saved(staged)), summary, kept))
}
