//! What a plan did to the rows of the shadow, compared with the copy made before it.

use std::collections::BTreeMap;

use crate::postgres::contents::{self, TableContents};
use crate::postgres::{ConnectionSpec, Session};
use crate::report::format_count;
use crate::report::rehearsal::{Loss, RowChange};

use super::super::Error;

/// Tables before and after, and what is gone.
#[derive(Debug, Default)]
pub struct DataEffect {
    /// Tables whose number of rows changed.
    pub row_changes: Vec<RowChange>,
    /// Data that is gone.
    pub losses: Vec<Loss>,
}

/// Compares the shadow with the copy.
pub async fn measure(before: &ConnectionSpec, after: &Session) -> Result<DataEffect, Error> {
    let before = before.connect("safe-migrate rehearsal before").await?;
    let old = contents::read(&before).await?;
    let new = contents::read(after).await?;
    let mut effect = DataEffect::default();
    for (oid, table) in &old {
        match new.get(oid) {
            None => effect.table_gone(table),
            Some(now) => effect.table_changed(&before, table, now).await?,
        }
    }
    Ok(effect)
}

/// Tables whose number of rows is not what it was, in words.
pub fn count_differences(old: &BTreeMap<u32, TableContents>, new: &BTreeMap<u32, TableContents>) -> Vec<String> {
    let counts = |tables: &BTreeMap<u32, TableContents>| -> BTreeMap<String, u64> {
        tables.values().map(|table| (table.name.clone(), table.rows)).collect()
    };
    let (old, new) = (counts(old), counts(new));
    old.iter()
        .filter(|(name, rows)| new.get(*name).is_some_and(|now| now != *rows))
        .map(|(name, rows)| {
            format!("{name} had {} rows before and has {} after", format_count(*rows), format_count(new[name]))
        })
        .collect()
}

impl DataEffect {
    fn table_gone(&mut self, table: &TableContents) {
        if table.rows == 0 {
            return;
        }
        self.row_changes.push(RowChange { table: table.name.clone(), before: table.rows, after: 0 });
        self.losses.push(Loss {
            object: table.name.clone(),
            amount: table.rows,
            what: format!("table {} is gone with {} rows", table.name, format_count(table.rows)),
        });
    }

    async fn table_changed(&mut self, before: &Session, old: &TableContents, new: &TableContents) -> Result<(), Error> {
        if old.rows != new.rows {
            self.row_changes.push(RowChange { table: old.name.clone(), before: old.rows, after: new.rows });
        }
        if new.rows < old.rows {
            let amount = old.rows - new.rows;
            self.losses.push(Loss {
                object: old.name.clone(),
                amount,
                what: format!("{} rows of {} are gone", format_count(amount), old.name),
            });
        }
        for (number, column) in &old.columns {
            if new.columns.contains_key(number) {
                continue;
            }
            let amount = contents::values(before, old, column).await?;
            if amount > 0 {
                self.losses.push(Loss {
                    object: format!("{}.{column}", old.name),
                    amount,
                    what: format!("column {}.{column} is gone with {} values", old.name, format_count(amount)),
                });
            }
        }
        Ok(())
    }
}
