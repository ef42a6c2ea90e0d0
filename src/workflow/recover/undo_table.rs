//! Undoing what made or filled a table: nothing is dropped that is not exactly what was made.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde_json::json;

use crate::postgres::ledger::RecoveryRecord;
use crate::postgres::recovery::{self, ForeignKey, InsertedRows, Key, MissingRows, Relation, Renamed};
use crate::postgres::{RunRecord, Session, copy, prepare_copy_session};
use crate::report::{format_list, format_things};
use crate::snapshot::RowSetHash;

use super::super::Error;
use super::run::{Job, Opened};
use super::{Ground, missing, refused, undo};

/// Kind of the record of rows that were taken out again.
pub(super) const TAKEN_OUT: &str = "taken-out";

/// What an undo does to a table.
pub(super) enum UndoJob {
    /// Rows go that a recovery inserted.
    TakeOut(Vec<InsertedRows>),
    /// A column goes that had come back; its values are kept.
    DropColumn { table: Relation, key: Option<Key>, column: String, made: Vec<String> },
    /// A table goes that was made, when it still is what was made.
    Drop { table: Relation, record: RecoveryRecord, unchanged: bool },
    /// Names are changed back.
    Rename { table: Relation, record: RecoveryRecord, back: Vec<Renamed> },
}

/// Rows that were inserted.
pub(super) async fn inserted(ground: &Ground<'_>, record: &RecoveryRecord) -> Result<(Job, String, u64), Error> {
    let live = &ground.live;
    let mut tables = Vec::new();
    for (rows, kept_in) in undo::saved_rows(ground, record).await? {
        let own = (rows.table.schema.clone(), rows.table.name.clone());
        let mut incoming = recovery::foreign_keys(live, rows.table.oid).await?;
        incoming.retain(|key| key.references == own);
        tables.push(InsertedRows { rows, kept_in, incoming });
    }
    let found = recovery::find_untouched(live, &tables).await?;
    let of = |(table, found): (&InsertedRows, &recovery::FoundRows)| {
        format!("{} out of {}", format_things(found.going, "row"), table.rows.table.display())
    };
    let going: Vec<String> = tables.iter().zip(&found).map(of).collect();
    let mut summary = format!("take {} again, which run {} inserted", going.join(" and "), record.run_id);
    let changed: u64 = found.iter().map(|found| found.changed).sum();
    let pointed_to: u64 = found.iter().map(|found| found.pointed_to).sum();
    for (number, what) in [(changed, "changed since and kept"), (pointed_to, "kept because others point to them")] {
        if number > 0 {
            summary.push_str(&format!("; {what}: {}", format_things(number, "row")));
        }
    }
    Ok((Job::Undo(UndoJob::TakeOut(tables)), summary, changed + pointed_to))
}

/// A column that had come back.
pub(super) async fn returned_column(
    ground: &Ground<'_>,
    record: &RecoveryRecord,
    table: Relation,
) -> Result<(Job, String, u64), Error> {
    let column = record.column.clone().unwrap_or_default();
    let key = recovery::primary_key(&ground.live, table.oid).await?;
    let made: Vec<String> = serde_json::from_value(record.details["made"].clone()).unwrap_or_default();
    refuse_used(&ground.live, &table, &column, &made).await?;
    let summary = format!("drop {column} of {} again, and keep its values in the ledger's schema", table.display());
    Ok((Job::Undo(UndoJob::DropColumn { table, key, column, made }), summary, 0))
}

/// Refuses to drop a column on which something stands that the recovery did not make.
async fn refuse_used(live: &Session, table: &Relation, column: &str, made: &[String]) -> Result<(), Error> {
    let Some(number) = recovery::column_number(live, table, column).await? else {
        return Err(refused(format!("{} has no column {column} any more", table.display()), "nothing is left to undo"));
    };
    let mut used = recovery::dependents(live, table.oid, number).await?;
    let on_it = recovery::Dependent::on(live, table, column).await?;
    used.extend(on_it.iter().filter(|one| !made.contains(&one.name)).map(|one| format!("{} {}", one.kind, one.name)));
    if used.is_empty() {
        return Ok(());
    }
    Err(refused(
        format!("{column} of {} is used by what came later: {}", table.display(), format_list(&used)),
        "drop these first",
    ))
}

/// A table that was made beside another, or came back.
pub(super) async fn made(
    ground: &Ground<'_>,
    record: &RecoveryRecord,
    table: Relation,
) -> Result<(Job, String, u64), Error> {
    refuse_other(&table, record)?;
    let ours: Vec<(String, String, String)> =
        serde_json::from_value(record.details["foreign_keys"].clone()).unwrap_or_default();
    let mut bound = super::whole::bound_to(&ground.live, &table).await?;
    bound.retain(|name| !ours.iter().any(|(schema, of, key)| *name == format!("foreign key {key} of {schema}.{of}")));
    if !bound.is_empty() {
        return Err(refused(
            format!("{} is used by what came later: {}", table.display(), format_list(&bound)),
            "drop these first",
        ));
    }
    let unchanged = is_unchanged(ground, &table, record).await?;
    if !unchanged && record.kind == "beside" {
        return Err(refused(
            format!("{} was changed since run {} made it", table.display(), record.run_id),
            "it is yours now: drop it yourself when nobody needs it",
        ));
    }
    let summary = if unchanged {
        format!("drop {} again: its rows are those of the snapshot", table.display())
    } else {
        format!("{} changed since it came back: it is kept under another name", table.display())
    };
    Ok((Job::Undo(UndoJob::Drop { table, record: record.clone(), unchanged }), summary, 0))
}

/// A table that took the place of another.
pub(super) async fn replaced(
    ground: &Ground<'_>,
    record: &RecoveryRecord,
    table: Relation,
) -> Result<(Job, String, u64), Error> {
    refuse_other(&table, record)?;
    let moved: Vec<Renamed> = serde_json::from_value(record.details["moved"].clone()).unwrap_or_default();
    let bound = super::whole::bound_to(&ground.live, &table).await?;
    if !bound.is_empty() {
        return Err(refused(
            format!(
                "what depends on {} would go on pointing at the renamed table: {}",
                table.display(),
                format_list(&bound)
            ),
            "drop these first, or bring rows over by --mode missing",
        ));
    }
    let back = recovery::way_back(&moved);
    let there = back.iter().find(|one| one.kind == "TABLE" && one.to == record.table);
    let there = match there {
        Some(one) => recovery::relation(&ground.live, &one.schema, &one.from).await?,
        None => None,
    };
    let Some(kept) = there else {
        return Err(refused(
            format!("the table that run {} kept is gone", record.run_id),
            "bring rows back from a snapshot: safe-migrate restore --table",
        ));
    };
    let summary = format!("put {} back in the place of {}, which is kept", kept.display(), table.display());
    Ok((Job::Undo(UndoJob::Rename { table, record: record.clone(), back }), summary, 0))
}

fn refuse_other(table: &Relation, record: &RecoveryRecord) -> Result<(), Error> {
    if record.details["oid"].as_u64() == Some(u64::from(table.oid)) {
        return Ok(());
    }
    Err(refused(
        format!("{} is another table than the one that run {} made", table.display(), record.run_id),
        "nothing of that run is left to undo under this name",
    ))
}

/// Whether the rows are exactly those that were copied.
async fn is_unchanged(ground: &Ground<'_>, table: &Relation, record: &RecoveryRecord) -> Result<bool, Error> {
    let Ok(made) = serde_json::from_value::<RowSetHash>(record.details["rows"].clone()) else { return Ok(false) };
    let columns: Vec<String> = serde_json::from_value(record.details["columns"].clone()).unwrap_or_default();
    let now = recovery::columns(&ground.live, table.oid).await?;
    if !now.iter().filter(|one| !one.generated).map(|one| &one.name).eq(&columns) {
        return Ok(false);
    }
    prepare_copy_session(&ground.live, record.details["lc_monetary"].as_str()).await?;
    let encoding = record.details["encoding"].as_str().unwrap_or("UTF8");
    let tree = table.kind == 'p';
    let rows =
        copy::read_back(&ground.live, (&table.schema, &table.name), &columns, None, tree, copy::Range::Whole, encoding)
            .await?;
    let mut rows = pin!(rows);
    let mut hash = RowSetHash::default();
    while let Some(row) = rows.try_next().await? {
        hash.add_row(&row);
    }
    Ok(hash == made)
}

/// Does it, in the run's transaction.
pub(super) async fn write(ground: &Ground<'_>, job: &UndoJob, run: &RunRecord) -> Result<Opened, Error> {
    let live = &ground.live;
    let (saved, saved_name) = recovery::saved_table(&run.id);
    let done = |table: &Relation, kind: &str, column: Option<String>, saved: Option<String>, details| RecoveryRecord {
        run_id: run.id.clone(),
        kind: kind.to_owned(),
        schema: table.schema.clone(),
        table: table.name.clone(),
        column,
        saved,
        details,
        undone_by: None,
    };
    let mut notes = Vec::new();
    let (record, changed) = match job {
        UndoJob::TakeOut(tables) => {
            recovery::find_untouched(live, tables).await?;
            let rows: Vec<&MissingRows> = tables.iter().map(|table| &table.rows).collect();
            let record = missing::keep(live, &rows, run, TAKEN_OUT).await?;
            let changed = recovery::take_out(live, tables, &missing::kept_in(&record)).await?;
            (record, changed)
        }
        UndoJob::DropColumn { table, key, column, made } => {
            recovery::lock_alone(live, table).await?;
            refuse_used(live, table, column, made).await?;
            let mut kept = None;
            let mut changed = 0;
            if let Some(key) = key {
                changed = recovery::keep_column(live, table, key, column, &saved).await?;
                kept = Some(saved_name);
            }
            recovery::drop_column(live, table, column).await?;
            (done(table, "column-dropped", Some(column.clone()), kept, json!({})), changed)
        }
        UndoJob::Drop { table, record, unchanged } => {
            recovery::lock_alone(live, table).await?;
            let unchanged = *unchanged && is_unchanged(ground, table, record).await?;
            drop_keys(live, record).await?;
            if unchanged {
                recovery::drop_table(live, table).await?;
            } else {
                notes.push(rename_away(live, table, run).await?);
            }
            let rows = record.details["rows"]["rows"].as_u64().unwrap_or_default();
            (done(table, "table-dropped", None, None, json!({})), if unchanged { rows } else { 0 })
        }
        UndoJob::Rename { table, record, back } => {
            recovery::lock_alone(live, table).await?;
            let moved = recovery::rename_for(live, table, &tail(run), live).await?;
            recovery::rename_all(live, &moved).await?;
            recovery::rename_all(live, back).await?;
            let Some(now) = recovery::relation(live, &record.schema, &record.table).await? else {
                return Err(Error::RestoreRefused(format!("{} did not get its name back", table.display())));
            };
            if let Some(kept) = moved.iter().find(|one| one.kind == "TABLE" && one.from == table.name) {
                notes.push(format!("the table that was there is kept as {}.{}", kept.schema, kept.to));
            }
            (done(table, "replace", None, None, json!({ "oid": now.oid, "moved": moved })), 0)
        }
    };
    Ok(Opened { record, notes, changed })
}

fn tail(run: &RunRecord) -> String {
    format!("_before_{}", run.id.to_lowercase().replace('-', "_"))
}

/// Drops the foreign keys of other tables that came back with the table, where they are still there.
async fn drop_keys(live: &Session, record: &RecoveryRecord) -> Result<(), Error> {
    let ours: Vec<(String, String, String)> =
        serde_json::from_value(record.details["foreign_keys"].clone()).unwrap_or_default();
    for (schema, table, name) in ours {
        let Some(there) = recovery::relation(live, &schema, &table).await? else { continue };
        let keys = recovery::foreign_keys(live, there.oid).await?;
        let to_it =
            |key: &&ForeignKey| key.name == name && key.references == (record.schema.clone(), record.table.clone());
        if let Some(key) = keys.iter().find(to_it) {
            recovery::drop_foreign_key(live, &key.table, &key.name).await?;
        }
    }
    Ok(())
}

async fn rename_away(live: &Session, table: &Relation, run: &RunRecord) -> Result<String, Error> {
    let moved = recovery::rename_for(live, table, &tail(run), live).await?;
    recovery::rename_all(live, &moved).await?;
    let kept = moved.iter().find(|one| one.kind == "TABLE" && one.from == table.name);
    Ok(kept.map_or_else(String::new, |one| format!("the table is kept as {}.{}", one.schema, one.to)))
}
