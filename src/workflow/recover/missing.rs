//! `--mode missing`: rows of the snapshot whose primary key the live table lacks are inserted; present rows stay. Rows of
//! several tables, which may point to each other, are inserted together.

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

/// Rows of one or several tables that are staged, to be inserted where they are missing.
pub(super) struct MissingJob {
    tables: Vec<MissingTable>,
}

/// Those of one table.
pub(super) struct MissingTable {
    rows: MissingRows,
    /// Rows that are staged.
    staged: u64,
    only_old: Vec<String>,
    only_live: Vec<String>,
}

/// Looks whether the rows of all of these tables can be matched and inserted.
pub(super) async fn prepare(works: &[Work<'_>]) -> Result<MissingJob, Error> {
    let mut tables = Vec::new();
    for (place, work) in works.iter().enumerate() {
        let Some(present) = &work.present else {
            return Err(refused(
                format!("{} is not in the live database, so it is made and not filled up", work.table.display()),
                "bring it back by itself first: leave the other --table out",
            ));
        };
        tables.push(matched(work, present, place).await?);
    }
    Ok(MissingJob { tables })
}

async fn matched(work: &Work<'_>, present: &Relation, place: usize) -> Result<MissingTable, Error> {
    let old = recovery::columns(work.old, work.table.oid).await?;
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
    Ok(MissingTable {
        rows: MissingRows {
            place,
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

/// Stages the rows beside the live tables, counts, and refuses what a foreign key or a unique index would refuse.
pub(super) async fn count(
    works: &[Work<'_>],
    mut job: MissingJob,
    sources: &[String],
) -> Result<(Job, Vec<PartPlan>), Error> {
    let mut plans = Vec::new();
    for ((work, table), source) in works.iter().zip(&mut job.tables).zip(sources) {
        plans.push(stage(work, table, source).await?);
    }
    for ((work, rows), plan) in works.iter().zip(job.rows()).zip(&mut plans) {
        let batches = work.request.batch.is_some();
        plan.foreign_keys = check_rows(&work.ground.live, (rows, &job.rows()), plan.inserts, batches).await?;
    }
    Ok((Job::Missing(job), plans))
}

async fn stage(work: &Work<'_>, table: &mut MissingTable, source: &str) -> Result<PartPlan, Error> {
    let live = &work.ground.live;
    let rows = &table.rows;
    rows.make_stage(live).await?;
    let (stage, columns) = rows.stage();
    recovery::transfer(work.old, &rows.query(source), live, (&stage, &columns), work.encoding(), |_| ()).await?;
    rows.analyze(live).await?;
    let counts = rows.counts(live).await?;
    let mut plan = work.plan(Action::Missing);
    plan.snapshot_rows = counts.staged;
    plan.live_rows = counts.live;
    plan.inserts = counts.missing;
    plan.only_snapshot = counts.missing;
    plan.unchanged = counts.staged.saturating_sub(counts.missing);
    plan.only_live = counts.live.saturating_sub(plan.unchanged);
    plan.triggers = recovery::user_triggers(live, rows.table.oid).await?;
    plan.columns_only_snapshot = std::mem::take(&mut table.only_old);
    plan.columns_only_live = std::mem::take(&mut table.only_live);
    table.staged = counts.staged;
    Ok(plan)
}

/// Counts what foreign keys and unique indexes would refuse, and refuses with the numbers.
pub(super) async fn check_rows(
    live: &Session,
    (rows, together): (&MissingRows, &[&MissingRows]),
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
        if let Some(orphans) = rows.orphans(live, &key, together).await? {
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
            "bring back what they point to first, or at once (a --table for each), or choose rows with --where",
        ));
    }
    Ok(checked)
}

/// Makes the tables that keep what is inserted, and says what undoing needs.
pub(super) async fn open(live: &Session, job: &MissingJob, run: &RunRecord) -> Result<Opened, Error> {
    let record = keep(live, &job.rows(), run, KIND).await?;
    Ok(Opened { record, notes: Vec::new(), changed: 0 })
}

/// Makes the empty tables that keep rows, and the record that names them.
pub(super) async fn keep(
    live: &Session,
    tables: &[&MissingRows],
    run: &RunRecord,
    kind: &str,
) -> Result<RecoveryRecord, Error> {
    let mut parts = Vec::new();
    for rows in tables {
        let (saved, name) = recovery::saved_table_of(&run.id, rows.place);
        rows.make_saved(live, &saved).await?;
        parts.push(RecoveryRecord {
            run_id: run.id.clone(),
            kind: kind.to_owned(),
            schema: rows.table.schema.clone(),
            table: rows.table.name.clone(),
            column: None,
            saved: Some(name),
            details: json!({ "columns": rows.all_columns }),
            undone_by: None,
        });
    }
    RecoveryRecord::of_tables(parts).ok_or_else(|| Error::RestoreRefused("no table is named".to_owned()))
}

/// The quoted names of the tables that keep rows.
pub(super) fn kept_in(record: &RecoveryRecord) -> Vec<String> {
    let saved = |part: &RecoveryRecord| part.saved.as_deref().map(recovery::saved_name).unwrap_or_default();
    record.tables().iter().map(saved).collect()
}

/// Inserts some of the staged rows.
pub(super) async fn write(
    live: &Session,
    job: &MissingJob,
    range: (i64, i64),
    record: &RecoveryRecord,
) -> Result<u64, Error> {
    let tables: Vec<(&MissingRows, String)> = job.rows().into_iter().zip(kept_in(record)).collect();
    Ok(recovery::insert_missing(live, &tables, range).await?)
}

impl MissingJob {
    /// The job of an undo: rows that an earlier run kept, with how many are staged of each table.
    pub(super) fn of_saved(tables: Vec<(MissingRows, u64)>) -> Self {
        let table = |(rows, staged)| MissingTable { rows, staged, only_old: Vec::new(), only_live: Vec::new() };
        Self { tables: tables.into_iter().map(table).collect() }
    }

    fn rows(&self) -> Vec<&MissingRows> {
        self.tables.iter().map(|table| &table.rows).collect()
    }

    /// Rows that are staged; of several tables the most of one, because all are written at once.
    pub(super) fn staged(&self) -> u64 {
        self.tables.iter().map(|table| table.staged).max().unwrap_or_default()
    }

    /// Moves the sequences of the tables' columns on.
    pub(super) async fn advance_sequences(&self, live: &Session) -> Result<(), Error> {
        for rows in self.rows() {
            rows.advance_sequences(live).await?;
        }
        Ok(())
    }
}
