//! Two tables of two databases compared row by row, in one pass over both in the order of their keys.

use std::cmp::Ordering;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use xxhash_rust::xxh3::xxh3_64;

use super::{DatabaseError, Session, quote_literal};

/// What is compared: SQL expressions over the rows of either side.
#[derive(Clone, Debug)]
pub struct RowComparison {
    /// What follows `FROM` on either side.
    pub from: (String, String),
    /// The key's columns. Without any, equal rows are paired, and all others are gone or new.
    pub key: Vec<(String, String)>,
    /// The columns compared.
    pub columns: Vec<(String, String)>,
    /// How many examples of each kind are kept.
    pub samples: usize,
}

/// How the rows differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowDifference {
    /// Rows before.
    pub before: u64,
    /// Rows after.
    pub after: u64,
    /// Rows whose key (without a key: whose values) is no longer there.
    pub gone: u64,
    /// Keys of such rows.
    pub gone_samples: Vec<String>,
    /// Rows that were not there.
    pub new: u64,
    /// Each column compared, in the order of the request.
    pub columns: Vec<ColumnDifference>,
}

/// How the values of one column differ in rows that are on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDifference {
    /// Values that became others.
    pub changed: u64,
    /// Values that became null.
    pub emptied: u64,
    /// Nulls that became values.
    pub filled: u64,
    /// Whether the set of all its values is another one; known without a key only.
    pub other_set: bool,
    /// `key: before -> after`.
    pub samples: Vec<String>,
}

/// Compares two tables. An error of the server may be that of an expression.
pub async fn compare(
    before: &Session,
    after: &Session,
    request: &RowComparison,
) -> Result<RowDifference, DatabaseError> {
    let keyed = !request.key.is_empty();
    let mut old = Rows::open(before, &request.from.0, request, |pair| &pair.0).await?;
    let mut new = Rows::open(after, &request.from.1, request, |pair| &pair.1).await?;
    let mut difference =
        RowDifference { columns: vec![ColumnDifference::default(); request.columns.len()], ..Default::default() };
    let mut sums = vec![(0_u64, 0_u64); request.columns.len()];
    let (mut left, mut right) = (old.next().await?, new.next().await?);
    loop {
        let order = match (&left, &right) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.key.cmp(&right.key),
        };
        if let (Ordering::Equal, Some(left), Some(right)) = (order, &left, &right) {
            difference.pair(left, right, request.samples);
        }
        if order != Ordering::Greater
            && let Some(row) = &left
        {
            difference.before += 1;
            row.add_to(&mut sums, |sum| &mut sum.0);
            if order == Ordering::Less {
                difference.gone += 1;
                keep(&mut difference.gone_samples, request.samples, || row.name());
            }
            left = old.next().await?;
        }
        if order != Ordering::Less
            && let Some(row) = &right
        {
            difference.after += 1;
            row.add_to(&mut sums, |sum| &mut sum.1);
            difference.new += u64::from(order == Ordering::Greater);
            right = new.next().await?;
        }
    }
    for (column, (before, after)) in difference.columns.iter_mut().zip(sums) {
        column.other_set = !keyed && before != after;
    }
    Ok(difference)
}

fn keep(samples: &mut Vec<String>, limit: usize, sample: impl FnOnce() -> String) {
    if samples.len() < limit {
        samples.push(sample());
    }
}

impl RowDifference {
    fn pair(&mut self, left: &Row, right: &Row, samples: usize) {
        let values = left.values().zip(right.values());
        for (column, (before, after)) in self.columns.iter_mut().zip(values) {
            match (before, after) {
                (before, after) if before == after => continue,
                (_, b"\\N") => column.emptied += 1,
                (b"\\N", _) => column.filled += 1,
                _ => column.changed += 1,
            }
            keep(&mut column.samples, samples, || format!("{}: {} -> {}", left.name(), shown(before), shown(after)));
        }
    }
}

fn shown(field: &[u8]) -> String {
    if field == b"\\N" { "null".to_owned() } else { String::from_utf8_lossy(field).into_owned() }
}

type RowStream = Pin<Box<dyn Stream<Item = Result<Bytes, DatabaseError>> + Send>>;

/// The rows of one side in the order of their keys.
struct Rows {
    stream: RowStream,
    key_fields: usize,
    field_count: usize,
}

/// A row as COPY printed it, and its key.
struct Row {
    line: Bytes,
    key: Vec<Vec<u8>>,
    key_fields: usize,
    has_values: bool,
}

impl Rows {
    async fn open(
        session: &Session,
        from: &str,
        request: &RowComparison,
        side: impl Fn(&(String, String)) -> &String,
    ) -> Result<Self, DatabaseError> {
        let columns: Vec<&str> = request.columns.iter().map(|pair| side(pair).as_str()).collect();
        let text = |sql: &str| format!("({sql})::pg_catalog.text COLLATE \"C\"");
        let mut list: Vec<String> = request.key.iter().map(|pair| text(side(pair))).collect();
        if list.is_empty() {
            list.push(text(&format!("ROW({})", columns.join(", "))));
        }
        let key_fields = list.len();
        let order: Vec<String> = (1..=key_fields).map(|place| place.to_string()).collect();
        list.extend(columns.iter().map(|column| (*column).to_owned()));
        // In the database's own encoding, whose bytes are what the collation "C" sorts by.
        let sql = format!(
            "COPY (SELECT {} FROM {from} ORDER BY {}) TO STDOUT (ENCODING {})",
            list.join(", "),
            order.join(", "),
            quote_literal(session.parameter("server_encoding").unwrap_or("UTF8"))
        );
        let stream = session.copy_out(&sql).await?.map(|item| item.map_err(DatabaseError::from));
        Ok(Self { stream: Box::pin(stream), key_fields, field_count: list.len() })
    }

    async fn next(&mut self) -> Result<Option<Row>, DatabaseError> {
        let Some(line) = self.stream.next().await.transpose()? else { return Ok(None) };
        let line = line.slice(..line.len().saturating_sub(1));
        let key = line.split(|byte| *byte == b'\t').take(self.key_fields).map(unescape).collect();
        Ok(Some(Row { key, key_fields: self.key_fields, has_values: self.field_count > self.key_fields, line }))
    }
}

impl Row {
    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let taken = if self.has_values { usize::MAX } else { 0 };
        self.line.split(|byte| *byte == b'\t').skip(self.key_fields).take(taken)
    }

    /// The key in words.
    fn name(&self) -> String {
        let parts: Vec<_> = self.key.iter().map(|part| String::from_utf8_lossy(part)).collect();
        parts.join(", ")
    }

    fn add_to(&self, sums: &mut [(u64, u64)], side: impl Fn(&mut (u64, u64)) -> &mut u64) {
        for (sum, value) in sums.iter_mut().zip(self.values()) {
            let sum = side(sum);
            *sum = sum.wrapping_add(xxh3_64(value));
        }
    }
}

/// The bytes behind a field of COPY's text format (PostgreSQL documentation, "COPY", File Formats).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_ordered_by_its_bytes_and_not_by_its_escapes() {
        assert_eq!(unescape(br"a\tb\\c\n"), b"a\tb\\c\n");
        assert!(unescape(br"a\tb") < unescape(b"a b"), "as the server sorts them");
    }
}
