//! Rows from the scratch database into a temporary table of the live one, or straight into a table there.

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, TryStreamExt};

use super::super::{DatabaseError, Session, quote_literal};

/// Bytes that are collected before they are sent on.
const MESSAGE: usize = 256 << 10;

/// Copies the rows of a query on one session into a table on another. `seen` gets each row as its COPY text line.
///
/// Both sessions print and read alike (`prepare_copy_session`), so a value arrives as it was.
pub async fn transfer(
    from: &Session,
    query: &str,
    to: &Session,
    (table, columns): (&str, &[String]),
    encoding: &str,
    mut seen: impl FnMut(&[u8]),
) -> Result<(), DatabaseError> {
    let encoding = quote_literal(encoding);
    let out = from.copy_out(&format!("COPY ({query}) TO STDOUT (ENCODING {encoding})")).await?;
    let mut out = std::pin::pin!(out);
    let list = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    let sql = format!("COPY {table}{list} FROM STDIN (ENCODING {encoding})");
    let mut sink = std::pin::pin!(to.copy_in::<_, Bytes>(&sql).await?);
    let mut pending = BytesMut::with_capacity(MESSAGE);
    while let Some(row) = out.try_next().await? {
        seen(&row);
        pending.extend_from_slice(&row);
        if pending.len() >= MESSAGE {
            sink.send(pending.split().freeze()).await?;
        }
    }
    if !pending.is_empty() {
        sink.send(pending.freeze()).await?;
    }
    sink.finish().await?;
    Ok(())
}

/// A name with a tail, its beginning cut so that both fit into the 63 bytes of a PostgreSQL name.
pub fn fit(name: &str, tail: &str) -> String {
    let mut room = 63_usize.saturating_sub(tail.len()).min(name.len());
    while !name.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}{tail}", &name[..room])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        assert_eq!(fit("dish", "_restored_x"), "dish_restored_x");
        let cut = fit(&"é".repeat(31), "_restored_20261122t135823z_7f3a9c");
        assert!(cut.len() <= 63 && cut.ends_with("_7f3a9c"), "{cut}");
    }
}
