//! The schema that the last run left, as text: what makes a drift readable.

use super::super::{DatabaseError, Session};

/// Keeps the schema that a run left, and lets go of the one before it. A ledger that has no place for it keeps none.
pub async fn keep_schema(session: &Session, run_id: &str, text: &str) -> Result<(), DatabaseError> {
    if has_place(session).await? {
        session
            .execute(
                "WITH older AS (DELETE FROM safe_migrate.schema WHERE run_id <> $1)
                 INSERT INTO safe_migrate.schema (run_id, text) VALUES ($1, $2)
                 ON CONFLICT (run_id) DO UPDATE SET text = excluded.text",
                &[&run_id, &text],
            )
            .await?;
    }
    Ok(())
}

/// The schema that this run left; none when it is not kept (any more).
pub async fn kept_schema(session: &Session, run_id: &str) -> Result<Option<String>, DatabaseError> {
    if !has_place(session).await? {
        return Ok(None);
    }
    let row = session.query_opt("SELECT text FROM safe_migrate.schema WHERE run_id = $1", &[&run_id]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Earlier versions of the ledger have none.
async fn has_place(session: &Session) -> Result<bool, DatabaseError> {
    Ok(session.query_one("SELECT pg_catalog.to_regclass('safe_migrate.schema') IS NOT NULL", &[]).await?.try_get(0)?)
}
