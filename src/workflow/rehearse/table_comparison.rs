//! One table of the copy made before the plan, compared with the shadow's: cheaply where that is enough.

use std::collections::BTreeMap;

use crate::postgres::contents::{self, Column, Table};
use crate::postgres::row_comparison::{self, ColumnDifference, RowComparison, RowDifference};
use crate::postgres::{DatabaseError, Session, quote_identifier, row_record};
use crate::report::rehearsal::ValueChange;

/// The two databases, and how many examples are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Comparer<'a> {
    /// The copy made before the plan.
    pub template: &'a Session,
    /// The shadow.
    pub shadow: &'a Session,
    /// Examples of each kind; 0 for none.
    pub samples: usize,
}

/// What became of one table's rows.
#[derive(Clone, Debug, Default)]
pub struct TableEffect {
    /// `schema.table`, by its name before.
    pub table: String,
    /// Rows before and after; none when they were not counted because no row was written.
    pub rows: Option<(u64, u64)>,
    /// Rows that are gone.
    pub gone: u64,
    /// Their keys.
    pub gone_samples: Vec<String>,
    /// Rows that are new.
    pub new: u64,
    /// Columns that are gone, with their values that were not null.
    pub dropped: Vec<(String, u64)>,
    /// Columns with other values.
    pub values: Vec<ValueChange>,
}

/// A column before, and what is compared with it.
struct Pair<'a> {
    before: &'a Column,
    after: &'a Column,
    /// Another type, or made anew under the same name.
    replaced: bool,
    /// The type by itself leaves every value as it was: what changed was changed by statements.
    fits: bool,
}

impl Comparer<'_> {
    /// Compares a table of the copy with a table of the shadow: the same one, or one that took its name. `names` is
    /// the table as it was called when the name was taken.
    pub async fn compare(
        &self,
        old: &Table,
        names: &Table,
        new: &Table,
        same: bool,
    ) -> Result<TableEffect, DatabaseError> {
        let mut effect = TableEffect { table: names.display(), ..TableEffect::default() };
        let (mut pairs, dropped) = paired(old, names, new, same);
        for column in dropped {
            let values = contents::values(self.template, old, &column.name).await?;
            if values > 0 {
                effect.dropped.push((column.name.clone(), values));
            }
        }
        let written = !same || old.was_written(new);
        let key = key_pairs(old, &pairs);
        if !written {
            pairs.retain(|pair| pair.replaced);
            if pairs.is_empty() {
                return Ok(effect);
            }
        } else if !pairs.iter().any(|pair| pair.replaced) && self.equal(old, new, &pairs, &mut effect).await? {
            return Ok(effect);
        }
        let difference = self.row_by_row(old, new, key.clone(), &pairs).await?;
        effect.take(difference, &pairs, !key.is_empty());
        Ok(effect)
    }

    /// Whether the hashes of both sides are equal.
    async fn equal(
        &self,
        old: &Table,
        new: &Table,
        pairs: &[Pair<'_>],
        effect: &mut TableEffect,
    ) -> Result<bool, DatabaseError> {
        let columns = |name: fn(&Pair<'_>) -> String| -> BTreeMap<String, String> {
            pairs.iter().map(|pair| (pair.before.name.clone(), name(pair))).collect()
        };
        let before = row_record::read(self.template, old, &columns(|pair| pair.before.name.clone())).await?;
        let after = row_record::read(self.shadow, new, &columns(|pair| pair.after.name.clone())).await?;
        effect.rows = Some((before.rows, after.rows));
        Ok(before == after)
    }

    /// Values of a column that got another type are cast back first: `1.20` that became `1.2` is the same number. Where
    /// that cannot be done, the texts are compared.
    async fn row_by_row(
        &self,
        old: &Table,
        new: &Table,
        key: Vec<(String, String)>,
        pairs: &[Pair<'_>],
    ) -> Result<RowDifference, DatabaseError> {
        let request = |cast: bool| RowComparison {
            from: (old.from_sql(), new.from_sql()),
            key: key.clone(),
            columns: pairs.iter().map(|pair| pair.expressions(cast)).collect(),
            samples: self.samples,
        };
        let castable = pairs.iter().any(|pair| pair.before.type_id != pair.after.type_id);
        match row_comparison::compare(self.template, self.shadow, &request(true)).await {
            Err(error) if castable && !error.is_connection_lost() => {
                row_comparison::compare(self.template, self.shadow, &request(false)).await
            }
            result => result,
        }
    }
}

impl Pair<'_> {
    fn expressions(&self, cast: bool) -> (String, String) {
        let (before, after) = (quote_identifier(&self.before.name), quote_identifier(&self.after.name));
        if self.before.type_id == self.after.type_id {
            return (before, after);
        }
        if cast {
            return (before, format!("({after})::{}", self.before.type_sql));
        }
        (format!("({before})::pg_catalog.text"), format!("({after})::pg_catalog.text"))
    }
}

/// Columns that are on both sides, and those that are gone. A column made anew under the name of one that is gone is
/// compared with it: `ADD b; UPDATE …; DROP a; RENAME b TO a` is how a type is changed online.
fn paired<'a>(old: &'a Table, names: &Table, new: &'a Table, same: bool) -> (Vec<Pair<'a>>, Vec<&'a Column>) {
    let (mut pairs, mut dropped) = (Vec::new(), Vec::new());
    for (number, before) in &old.columns {
        let by_number = new.columns.get(number).filter(|_| same);
        let name = names.columns.get(number).map_or(&before.name, |column| &column.name);
        let by_name = || {
            let found = new.number_of(name).filter(|found| !same || !old.columns.contains_key(found));
            found.and_then(|found| new.columns.get(&found))
        };
        match by_number.or_else(by_name) {
            Some(after) => {
                let replaced = (same && by_number.is_none()) || before.type_id != after.type_id;
                let fits = same && by_number.is_some() && before.fits_into(after);
                pairs.push(Pair { before, after, replaced, fits });
            }
            None => dropped.push(before),
        }
    }
    (pairs, dropped)
}

/// The key's columns on both sides; empty when one of them is gone.
fn key_pairs(old: &Table, pairs: &[Pair<'_>]) -> Vec<(String, String)> {
    let pair_of = |number: &i16| {
        let column = old.columns.get(number)?;
        let pair = pairs.iter().find(|pair| pair.before.name == column.name)?;
        Some((quote_identifier(&pair.before.name), quote_identifier(&pair.after.name)))
    };
    old.key.iter().map(pair_of).collect::<Option<Vec<_>>>().unwrap_or_default()
}

impl TableEffect {
    fn take(&mut self, difference: RowDifference, pairs: &[Pair<'_>], keyed: bool) {
        self.rows = Some((difference.before, difference.after));
        let mut columns = difference.columns;
        // Without a key a changed row is one that is gone and one that is new.
        let rewritten = if keyed { 0 } else { difference.gone.min(difference.new) };
        self.gone = difference.gone - rewritten;
        self.new = difference.new - rewritten;
        self.gone_samples = if keyed || rewritten == 0 { difference.gone_samples } else { Vec::new() };
        for column in columns.iter_mut().filter(|column| column.other_set) {
            column.changed = rewritten;
        }
        for (column, pair) in columns.into_iter().zip(pairs) {
            self.take_column(column, pair, keyed);
        }
    }

    fn take_column(&mut self, column: ColumnDifference, pair: &Pair<'_>, keyed: bool) {
        if column.changed + column.emptied + column.filled == 0 {
            return;
        }
        self.values.push(ValueChange {
            column: format!("{}.{}", self.table, pair.before.name),
            changed: column.changed,
            emptied: column.emptied,
            filled: column.filled,
            other_type: pair.replaced && !pair.fits,
            made_anew: pair.replaced && pair.before.type_id == pair.after.type_id,
            without_key: !keyed,
            samples: column.samples,
        });
    }
}
