//! A query that must return no row: run in a read-only transaction, its rows counted on the server.

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use super::{DatabaseError, MigratingSession, Session, quote_literal};

/// What a check returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckRows {
    /// How many rows.
    pub rows: u64,
    /// The first ones, as `column=value, …`; none unless asked for.
    pub first: Vec<String>,
}

/// Runs one query. A cursor takes only what reads, and its rows stay on the server.
pub async fn run(
    session: &MigratingSession,
    query: &str,
    (lock_timeout, statement_timeout): (Duration, Option<Duration>),
    samples: usize,
) -> Result<CheckRows, DatabaseError> {
    let milliseconds = |time: Duration| quote_literal(&format!("{}ms", time.as_millis()));
    session
        .batch_execute(&format!(
            "BEGIN READ ONLY; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
            milliseconds(lock_timeout),
            milliseconds(statement_timeout.unwrap_or_default())
        ))
        .await?;
    session.set_theirs_locally().await?;
    let result = fetch(session, query, samples).await;
    let ended = session.batch_execute("ROLLBACK").await;
    let rows = result?;
    ended?;
    Ok(rows)
}

async fn fetch(session: &Session, query: &str, samples: usize) -> Result<CheckRows, DatabaseError> {
    session.batch_execute(&format!("DECLARE safe_migrate_check NO SCROLL CURSOR FOR\n{query}")).await?;
    let mut check = CheckRows::default();
    if samples > 0 {
        for message in session.simple_query(&format!("FETCH FORWARD {samples} FROM safe_migrate_check")).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let value = |place: usize| row.get(place).unwrap_or("null").to_owned();
                let columns = row.columns().iter().enumerate();
                let fields: Vec<String> =
                    columns.map(|(place, column)| format!("{}={}", column.name(), value(place))).collect();
                check.first.push(fields.join(", "));
            }
        }
    }
    check.rows = check.first.len() as u64;
    for message in session.simple_query("MOVE FORWARD ALL FROM safe_migrate_check").await? {
        if let SimpleQueryMessage::CommandComplete(rows) = message {
            check.rows += rows;
        }
    }
    Ok(check)
}
