//! Rows after the way back, and after the second pass: what is not back, and what is another value each time.

use std::collections::BTreeSet;

use crate::postgres::contents::{self, Table};
use crate::postgres::row_record::{self, RowRecord};
use crate::report::format_things;
use crate::report::rehearsal::Loss;

use super::super::Error;
use super::data_effect::{successor, things_are};
use super::table_comparison::{Comparer, TableEffect};
use super::watch::{Moment, Watch};

/// Tables and columns in which a difference was seen already.
#[derive(Debug, Default)]
pub struct RowVerdict {
    /// Tables and columns of which something was not back.
    objects: BTreeSet<String>,
    /// The tables among them, or with such a column.
    not_back: BTreeSet<String>,
    other_values: BTreeSet<String>,
}

/// What one step back did not bring back.
#[derive(Debug, Default)]
pub struct NotBack {
    /// Rows or values that are gone.
    pub losses: Vec<Loss>,
    /// Rows that were not there before.
    pub left_over: Vec<String>,
}

impl RowVerdict {
    /// Compares the rows after the step `index` was undone with those before it was run.
    pub async fn back(
        &mut self,
        watch: &Watch,
        comparer: Comparer<'_>,
        (index, now): (usize, &Moment),
    ) -> Result<NotBack, Error> {
        let then = &watch.moments[index].tables;
        let start = &watch.moments[0].tables;
        let mut not_back = NotBack::default();
        for (oid, old) in then.iter().filter(|(_, table)| !table.partitioned) {
            let (found, same) = successor(*oid, old, then, &now.tables);
            if found.is_some_and(|(_, new)| same && !old.was_touched(new)) {
                continue;
            }
            // Untouched between the start and the step: the copy still has its rows.
            let original = start.get(oid).filter(|first| !first.was_touched(old));
            let one = match (found, original) {
                (None, Some(first)) => table_gone(old, contents::rows(comparer.template, first).await?),
                (None, None) => {
                    recorded(watch, index, *oid).map(|record| table_gone(old, record.rows)).unwrap_or_default()
                }
                (Some((_, new)), Some(first)) => {
                    let effect = comparer.compare(first, old, new, same).await?;
                    NotBack::from_effect(effect)
                }
                (Some((_, new)), None) => match recorded(watch, index, *oid) {
                    Some(record) => by_record(watch, old, record, new).await?,
                    None => NotBack::default(),
                },
            };
            self.keep_new(&old.display(), one, &mut not_back);
        }
        Ok(not_back)
    }

    /// Passes on what was not seen before: a later step back is not to blame for what an earlier one lost.
    fn keep_new(&mut self, table: &str, one: NotBack, all: &mut NotBack) {
        if one.losses.is_empty() && one.left_over.is_empty() {
            return;
        }
        let seen = self.objects.clone();
        all.losses.extend(one.losses.into_iter().filter(|loss| !seen.contains(&loss.object)));
        self.objects.extend(all.losses.iter().map(|loss| loss.object.clone()));
        if self.objects.insert(table.to_owned()) && !seen.contains(table) {
            all.left_over.extend(one.left_over);
        }
        self.not_back.insert(table.to_owned());
    }

    /// Compares what the step `index` wrote the second time with the first. Where rows were not back before it, that
    /// they differ says nothing of the migration.
    pub async fn again(
        &mut self,
        watch: &Watch,
        index: usize,
        (before, now): (&Moment, &Moment),
    ) -> Result<Vec<String>, Error> {
        let mut columns = BTreeSet::new();
        let second = watch.records_of(&before.tables, &now.tables, true).await?;
        for record in second.values() {
            let first = watch.records[index].values().find(|first| first.name == record.name);
            if let Some(first) = first.filter(|_| !self.not_back.contains(&record.name)) {
                columns.extend(other_columns(&record.name, &first.record, &record.record));
            }
        }
        // A default that is the same for all rows stands in the catalog and nowhere else.
        for (table, column, value) in missing_values(&watch.moments[index + 1]) {
            let again = missing_values(now).find(|(name, other, _)| *name == table && *other == column);
            if again.is_some_and(|(_, _, other)| other != value) && !self.not_back.contains(&table) {
                columns.insert(format!("{table}.{column}"));
            }
        }
        Ok(columns.into_iter().filter(|column| self.other_values.insert(column.clone())).collect())
    }
}

fn missing_values(moment: &Moment) -> impl Iterator<Item = (String, &str, &str)> {
    moment.tables.values().flat_map(|table| {
        let columns = table.columns.values();
        columns.filter_map(|column| Some((table.display(), column.name.as_str(), column.missing.as_deref()?)))
    })
}

fn other_columns(table: &str, first: &RowRecord, second: &RowRecord) -> Vec<String> {
    if first == second {
        return Vec::new();
    }
    let columns = first.columns.iter().filter(|(name, column)| second.columns.get(*name) != Some(column));
    let columns: Vec<String> = columns.map(|(name, _)| format!("{table}.{name}")).collect();
    if columns.is_empty() { vec![table.to_owned()] } else { columns }
}

/// The last record of a table before the step `index`.
fn recorded(watch: &Watch, index: usize, oid: u32) -> Option<&RowRecord> {
    watch.records[..index].iter().rev().find_map(|records| records.get(&oid)).map(|recorded| &recorded.record)
}

fn loss(object: String, amount: u64, what: String, samples: Vec<String>) -> Option<Loss> {
    (amount > 0).then_some(Loss { object, amount, what, samples, accepted: None })
}

fn table_gone(table: &Table, rows: u64) -> NotBack {
    let name = table.display();
    let what = things_are(rows, "row", &name, "not back");
    NotBack { losses: loss(name, rows, what, Vec::new()).into_iter().collect(), left_over: Vec::new() }
}

/// Against a record: which columns differ is known, and how many values only where they are null now.
async fn by_record(watch: &Watch, old: &Table, then: &RowRecord, new: &Table) -> Result<NotBack, Error> {
    let names = then.columns.keys().filter(|name| new.number_of(name).is_some());
    let columns = names.map(|name| (name.clone(), name.clone())).collect();
    let now = row_record::read(&watch.shadow, new, &columns).await?;
    let (table, mut not_back) = (old.display(), NotBack::default());
    not_back.count_rows(&table, then.rows.saturating_sub(now.rows), now.rows.saturating_sub(then.rows), Vec::new());
    // With fewer rows there are fewer values; with more, only that values are missing means anything.
    if then.rows <= now.rows {
        for (name, column) in &now.columns {
            let Some(before) = then.columns.get(name).filter(|before| *before != column) else { continue };
            let object = format!("{table}.{name}");
            let missing = before.values.saturating_sub(column.values);
            if missing == 0 && then.rows != now.rows {
                continue;
            }
            let what = match missing {
                0 => format!("values of {object} are not as before"),
                _ => things_are(missing, "value", &object, "not back"),
            };
            not_back.losses.push(Loss { object, amount: missing, what, samples: Vec::new(), accepted: None });
        }
    }
    Ok(not_back)
}

impl NotBack {
    fn count_rows(&mut self, table: &str, gone: u64, new: u64, samples: Vec<String>) {
        self.losses.extend(loss(table.to_owned(), gone, things_are(gone, "row", table, "not back"), samples));
        if new > 0 {
            self.left_over.push(format!(
                "{} in {table} that {} not there before",
                format_things(new, "row"),
                if new == 1 { "was" } else { "were" }
            ));
        }
    }

    fn from_effect(effect: TableEffect) -> Self {
        let mut not_back = Self::default();
        not_back.count_rows(&effect.table, effect.gone, effect.new, effect.gone_samples);
        for (column, values) in effect.dropped {
            let object = format!("{}.{column}", effect.table);
            let what = things_are(values, "value", &object, "not back");
            not_back.losses.extend(loss(object, values, what, Vec::new()));
        }
        for change in effect.values {
            let amount = change.changed + change.emptied + change.filled;
            let what = things_are(amount, "value", &change.column, "not as before");
            not_back.losses.extend(loss(change.column, amount, what, change.samples));
        }
        not_back
    }
}
