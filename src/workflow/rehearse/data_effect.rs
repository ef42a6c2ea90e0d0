//! What a plan did to the rows of the shadow, compared with the copy made before it. Only tables that it touched are read.

use std::collections::BTreeSet;

use crate::postgres::DatabaseError;
use crate::postgres::contents::{self, Table, Tables};
use crate::report::format_things;
use crate::report::rehearsal::{Loss, RowChange, ValueChange};

use super::table_comparison::{Comparer, TableEffect};

/// Tables before and after, and what is gone.
#[derive(Debug, Default)]
pub struct DataEffect {
    /// Tables whose number of rows changed.
    pub row_changes: Vec<RowChange>,
    /// Columns whose values changed.
    pub value_changes: Vec<ValueChange>,
    /// Data that is gone.
    pub losses: Vec<Loss>,
    /// Tables that were read.
    pub compared: Vec<String>,
}

/// Compares the shadow with the copy.
pub async fn measure(comparer: &Comparer<'_>, before: &Tables, after: &Tables) -> Result<DataEffect, DatabaseError> {
    let mut effect = DataEffect::default();
    let mut taken = Vec::new();
    for (oid, old) in before.iter().filter(|(_, table)| !table.partitioned) {
        let (now, same) = successor(*oid, old, before, after);
        match now {
            Some((_, new)) if same && !old.was_touched(new) => continue,
            Some((number, new)) => {
                taken.push(number);
                effect.changed(comparer.compare(old, old, new, same).await?);
            }
            None => effect.gone(old.display(), contents::rows(comparer.template, old).await?),
        }
        effect.compared.push(old.display());
    }
    let new = |oid: &u32, table: &Table| !table.partitioned && !before.contains_key(oid) && !taken.contains(oid);
    let new: Vec<(&u32, &Table)> = after.iter().filter(|(oid, table)| new(oid, table)).collect();
    let empty = if new.is_empty() { BTreeSet::new() } else { contents::empty(comparer.shadow).await? };
    for (oid, table) in new {
        let rows = if empty.contains(oid) { 0 } else { contents::rows(comparer.shadow, table).await? };
        effect.rows(table.display(), 0, rows);
        effect.compared.push(table.display());
    }
    effect.row_changes.sort_by(|left, right| left.table.cmp(&right.table));
    effect.compared.sort();
    Ok(effect)
}

/// The table itself, or a new one that took its name, and whether it is the same.
pub fn successor<'a>(oid: u32, names: &Table, before: &Tables, after: &'a Tables) -> (Option<(u32, &'a Table)>, bool) {
    if let Some(same) = after.get(&oid) {
        return (Some((oid, same)), true);
    }
    let heir = after.iter().find(|(number, table)| {
        !before.contains_key(number) && table.schema == names.schema && table.name == names.name
    });
    (heir.map(|(number, table)| (*number, table)), false)
}

/// `1 row of t is gone`, `2 rows of t are gone`.
pub fn things_are(count: u64, thing: &str, of: &str, what: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} of {of} {verb} {what}", format_things(count, thing))
}

impl DataEffect {
    /// Whether no row was written, lost or changed.
    pub fn is_nothing(&self) -> bool {
        self.row_changes.is_empty() && self.value_changes.is_empty() && self.losses.is_empty()
    }

    fn rows(&mut self, table: String, before: u64, after: u64) {
        if before != after {
            self.row_changes.push(RowChange { table, before, after });
        }
    }

    fn lost(&mut self, object: String, amount: u64, what: String, samples: Vec<String>) {
        if amount > 0 {
            self.losses.push(Loss { object, amount, what, samples, accepted: None });
        }
    }

    fn gone(&mut self, table: String, rows: u64) {
        self.rows(table.clone(), rows, 0);
        let what = format!("table {table} is gone with {}", format_things(rows, "row"));
        self.lost(table, rows, what, Vec::new());
    }

    fn changed(&mut self, effect: TableEffect) {
        let table = effect.table;
        if let Some((before, after)) = effect.rows {
            self.rows(table.clone(), before, after);
        }
        let what = things_are(effect.gone, "row", &table, "gone");
        self.lost(table.clone(), effect.gone, what, effect.gone_samples);
        for (column, values) in effect.dropped {
            let object = format!("{table}.{column}");
            let what = format!("column {object} is gone with {}", format_things(values, "value"));
            self.lost(object, values, what, Vec::new());
        }
        for change in effect.values {
            self.value_change(change);
        }
    }

    /// An UPDATE to other values is what a migration is for; nulls in their place and another type's are losses.
    fn value_change(&mut self, change: ValueChange) {
        let column = change.column.clone();
        let what = format!("{} of {column} became null", format_things(change.emptied, "value"));
        self.lost(column.clone(), change.emptied, what, change.samples.clone());
        if change.other_type {
            let why = if change.made_anew { "are others: it was made anew" } else { "changed with its type" };
            let what = format!("{} of {column} {why}", format_things(change.changed, "value"));
            self.lost(column, change.changed, what, change.samples.clone());
        }
        self.value_changes.push(change);
    }
}
