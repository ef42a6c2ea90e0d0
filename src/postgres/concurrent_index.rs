//! Indexes built outside a transaction: which one a statement is about, and what a failed build leaves behind.

use super::{DatabaseError, Session};
use crate::migration::Statement;

/// What a `CREATE` or `DROP INDEX CONCURRENTLY` is about.
pub(super) struct ConcurrentIndex {
    creates: bool,
    /// None when PostgreSQL is to choose the name.
    pub(super) name: Option<String>,
    /// The table as it is written after `ON`; none in a `DROP`.
    table: Option<String>,
}

/// The index, when the statement builds or drops one concurrently.
pub(super) fn concurrent_index(statement: &Statement) -> Option<ConcurrentIndex> {
    let words = words(&statement.text);
    let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let at = upper.iter().take(4).position(|word| word == "CONCURRENTLY")?;
    let creates = match upper.first().map(String::as_str) {
        Some("CREATE") => true,
        Some("DROP") => false,
        _ => return None,
    };
    let mut next = at + 1;
    if upper.get(next).is_some_and(|word| word == "IF") {
        next += if creates { 3 } else { 2 };
    }
    let unnamed = creates && upper.get(next).is_some_and(|word| word == "ON");
    let name = words.get(next)?.to_owned();
    let on = if unnamed { next } else { next + 1 };
    let only = usize::from(upper.get(on + 1).is_some_and(|word| word == "ONLY"));
    let table = if creates { words.get(on + 1 + only).cloned() } else { None };
    Some(ConcurrentIndex { creates, name: (!unnamed).then_some(name), table })
}

/// The words of a statement; space inside a quoted name does not end one, a bracket or a semicolon does.
fn words(text: &str) -> Vec<String> {
    let mut quoted = false;
    let ends_word = |symbol: char| {
        quoted ^= symbol == '"';
        !quoted && (symbol.is_whitespace() || symbol == '(' || symbol == ';')
    };
    text.split(ends_word).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// After a crash: an index that was being made is there and valid, or one that was being dropped is gone. An invalid
/// one is dropped, so that the statement can run again.
pub(super) async fn index_is_done(session: &Session, statement: &Statement) -> Result<bool, DatabaseError> {
    let Some(ConcurrentIndex { creates, name: Some(name), .. }) = concurrent_index(statement) else {
        return Ok(false);
    };
    let row = session
        .query_opt(
            "SELECT indisvalid, indexrelid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1)",
            &[&name],
        )
        .await?;
    match row.map(|row| (row.get::<_, bool>(0), row.get::<_, u32>(1))) {
        None => Ok(!creates),
        Some((true, _)) => Ok(creates),
        Some((false, oid)) => {
            drop_abandoned_index(session, oid).await?;
            Ok(!creates)
        }
    }
}

/// OIDs of the invalid indexes that there are.
pub(super) async fn invalid_indexes(session: &Session) -> Result<Vec<u32>, DatabaseError> {
    let rows = session.query("SELECT indexrelid FROM pg_catalog.pg_index WHERE NOT indisvalid", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A failed `CREATE INDEX CONCURRENTLY` leaves an invalid index that costs writes and serves no read. One that was
/// there before, such as the one that another session is building under the same name, is not ours to drop.
pub(super) async fn drop_own_invalid_index(
    session: &Session,
    statement: &Statement,
    before: &[u32],
) -> Result<(), DatabaseError> {
    let Some(index) = concurrent_index(statement).filter(|index| index.creates) else { return Ok(()) };
    let rows = session
        .query(
            "SELECT i.indexrelid FROM pg_catalog.pg_index i
              WHERE NOT i.indisvalid AND i.indexrelid <> ALL ($1::oid[])
                AND i.indrelid = pg_catalog.to_regclass($3)
                AND ($2::text IS NULL OR (pg_catalog.parse_ident($2))[1]
                     = (SELECT relname FROM pg_catalog.pg_class WHERE oid = i.indexrelid))",
            &[&before, &index.name, &index.table],
        )
        .await?;
    for row in rows {
        drop_abandoned_index(session, row.get(0)).await?;
    }
    Ok(())
}

/// Drops an invalid index after making sure that nobody is building it: who builds one holds this lock on its table.
async fn drop_abandoned_index(session: &Session, index: u32) -> Result<(), DatabaseError> {
    const NAMES: &str = "
        SELECT pg_catalog.format('%I.%I', n.nspname, t.relname), pg_catalog.format('%I.%I', m.nspname, c.relname)
          FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
          JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
         WHERE i.indexrelid = $1 AND NOT i.indisvalid";
    let Some(row) = session.query_opt(NAMES, &[&index]).await? else { return Ok(()) };
    let table: String = row.get(0);
    session.batch_execute("BEGIN").await?;
    let locked = session.batch_execute(&format!("LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")).await;
    session.batch_execute("ROLLBACK").await?;
    locked?;
    // Still invalid now that nobody builds it: it stays so.
    if let Some(row) = session.query_opt(NAMES, &[&index]).await? {
        let name: String = row.get(1);
        session.batch_execute(&format!("DROP INDEX CONCURRENTLY {name}")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Option<(bool, Option<String>, Option<String>)> {
        let statement = Statement { text: text.to_owned(), line: 1 };
        concurrent_index(&statement).map(|index| (index.creates, index.name, index.table))
    }

    #[test]
    fn concurrent_indexes_are_recognised() {
        let named =
            |creates, name: &str, table: Option<&str>| Some((creates, Some(name.to_owned()), table.map(str::to_owned)));
        assert_eq!(index("CREATE INDEX CONCURRENTLY a_idx ON a (b)"), named(true, "a_idx", Some("a")));
        assert_eq!(
            index("create unique index concurrently if not exists a_idx on only x.a(b)"),
            named(true, "a_idx", Some("x.a"))
        );
        assert_eq!(index("CREATE INDEX CONCURRENTLY ON a (b)"), Some((true, None, Some("a".to_owned()))));
        let quoted = index("CREATE INDEX CONCURRENTLY \"of a dish\" ON \"my dish\"(b)");
        assert_eq!(quoted, named(true, "\"of a dish\"", Some("\"my dish\"")));
        assert_eq!(index("DROP INDEX CONCURRENTLY IF EXISTS x.a_idx;"), named(false, "x.a_idx", None));
        assert_eq!(index("CREATE INDEX a_idx ON a (b)"), None);
        assert_eq!(index("VACUUM a"), None);
    }
}
