//! How many rows tables have: exactly, or what the server believes where counting would take long.

use std::time::{Duration, Instant};

use super::catalog::{self, Table};
use super::{DatabaseError, Session, qualified, quote_identifier};

/// Heap above which rows are not counted but estimated.
const COUNTED: i64 = 16 << 20;
/// Time for all counts together; what comes after is estimated.
const PATIENCE: Duration = Duration::from_secs(5);

/// The rows of one table now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCount {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Rows; none where neither a count nor an estimate is to be had.
    pub rows: Option<u64>,
    /// Whether they were counted.
    pub exact: bool,
}

/// Counts the rows of one table, with those of its partitions when `whole_tree`.
pub async fn count(
    session: &Session,
    (schema, name): (&str, &str),
    filter: Option<&str>,
    whole_tree: bool,
) -> Result<u64, DatabaseError> {
    let only = if whole_tree { "" } else { "ONLY " };
    let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    let sql = format!("SELECT count(*) FROM {only}{}{filter}", qualified(schema, name));
    let rows: i64 = session.query_one(&sql, &[]).await?.get(0);
    Ok(u64::try_from(rows).unwrap_or_default())
}

/// The rows of one table with its partitions, or the values of one of its columns. Gives up where counting takes longer
/// than five seconds.
pub async fn in_time(session: &Session, table: (&str, &str), column: Option<&str>) -> Result<u64, DatabaseError> {
    let filter = column.map(|column| format!("{} IS NOT NULL", quote_identifier(column)));
    let limits = format!(
        "BEGIN READ ONLY; SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '{}ms'",
        PATIENCE.as_millis()
    );
    session.batch_execute(&limits).await?;
    let counted = count(session, table, filter.as_deref(), true).await;
    session.batch_execute("ROLLBACK").await?;
    counted
}

/// The rows of every table that a snapshot would hold. Waits for no lock for long.
pub async fn now(session: &Session) -> Result<Vec<RowCount>, DatabaseError> {
    session
        .batch_execute(
            "SET lock_timeout = '500ms'; SET statement_timeout = '5s'; SET default_transaction_read_only = on",
        )
        .await?;
    let begun = Instant::now();
    let mut counts = Vec::new();
    for table in catalog::tables(session).await? {
        let mut exact = None;
        if table.heap_bytes <= COUNTED && begun.elapsed() < PATIENCE {
            let counted = count(session, (&table.schema, &table.name), table.filter.as_deref(), false).await;
            exact = match counted {
                Err(error) if error.is_connection_lost() => return Err(error),
                counted => counted.ok(),
            };
        }
        let rows = match exact {
            Some(rows) => Some(rows),
            None => estimate(session, &table).await?,
        };
        counts.push(RowCount { schema: table.schema, name: table.name, rows, exact: exact.is_some() });
    }
    Ok(counts)
}

/// What the statistics collector counted, else the planner's own guess: the density at the last `ANALYZE` for the pages
/// that there are now.
async fn estimate(session: &Session, table: &Table) -> Result<Option<u64>, DatabaseError> {
    let row = session
        .query_one(
            "SELECT CASE WHEN s.n_live_tup > 0 OR s.n_tup_del > 0 THEN s.n_live_tup
                         WHEN c.reltuples >= 0 AND c.relpages > 0
                         THEN (c.reltuples / c.relpages * ($2::int8 / 8192))::int8 END
               FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
              WHERE c.oid = $1",
            &[&table.oid, &table.heap_bytes],
        )
        .await?;
    Ok(row.get::<_, Option<i64>>(0).and_then(|rows| u64::try_from(rows).ok()))
}
