//! Large objects behind a fence.
//!
//! Reading one takes the same lock as writing one (ROW EXCLUSIVE on `pg_largeobject`, `open_lo_relation` in
//! `inv_api.c`; tried on 15 and 18), so while `pg_dump` reads them nobody can be kept from writing them. What can: making
//! and removing them, by the lock on `pg_largeobject_metadata`. What was written to them meanwhile is found afterwards:
//! every write makes a new version of a piece, whose transaction the earlier snapshot does not see.

use std::time::Duration;

use super::super::{DatabaseError, Session};
use super::{BYTES, FenceError, refused};

/// Whether this session may lock large objects, and whether there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeObjects {
    /// Whether they can be fenced.
    pub lockable: bool,
    /// Whether the database has any.
    pub present: bool,
}

/// Asks what can be done about large objects.
pub async fn large_objects(session: &Session) -> Result<LargeObjects, DatabaseError> {
    let row = session
        .query_one(
            "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'UPDATE')
                    AND pg_catalog.has_table_privilege('pg_catalog.pg_largeobject_metadata', 'UPDATE'),
                    EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)",
            &[],
        )
        .await?;
    Ok(LargeObjects { lockable: row.get(0), present: row.get(1) })
}

/// The table of their bytes, as [`holders`](super::holders) wants it.
pub fn bytes_table() -> Vec<(u32, String)> {
    vec![(BYTES.0, BYTES.1.to_owned())]
}

/// Locks the bytes against readers and writers, in the transaction of the fence; all who wrote have ended by then.
/// Returns the server's snapshot at that moment. With `keep` the lock stays, else it is given back.
pub async fn lock_bytes(
    session: &Session,
    lister: &Session,
    keep: bool,
    timeout: Duration,
) -> Result<String, FenceError> {
    let sql = format!(
        "SAVEPOINT safe_migrate_fence;SET LOCAL lock_timeout = {};LOCK TABLE {} IN SHARE MODE",
        timeout.as_millis(),
        BYTES.1
    );
    let result = match session.batch_execute(&sql).await {
        Ok(()) => lister
            .query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[])
            .await
            .map(|row| row.get::<_, String>(0))
            .map_err(FenceError::from),
        Err(error) => Err(refused(error.into())),
    };
    if !session.is_closed() {
        let back = if keep && result.is_ok() {
            "SET LOCAL lock_timeout = 0"
        } else {
            "ROLLBACK TO SAVEPOINT safe_migrate_fence"
        };
        session.batch_execute(&format!("{back};RELEASE SAVEPOINT safe_migrate_fence")).await?;
    }
    result
}

/// How many pieces of large objects were written since a snapshot of the server. The bytes are locked.
pub async fn pieces_written_since(session: &Session, snapshot: &str) -> Result<u64, DatabaseError> {
    // age() counts from the transaction's own id, once it has one; of old versions only so much is known.
    let sql = "SELECT count(*) FROM pg_catalog.pg_largeobject o,
         LATERAL (SELECT pg_catalog.age(o.xmin)::bigint AS age, pg_catalog.pg_current_xact_id()::text::bigint AS now) x
        WHERE CASE WHEN x.age BETWEEN 0 AND x.now - pg_catalog.pg_snapshot_xmin($1::text::pg_snapshot)::text::bigint
                   THEN NOT pg_catalog.pg_visible_in_snapshot((x.now - x.age)::text::xid8, $1::text::pg_snapshot)
                   ELSE false END";
    session.batch_execute("BEGIN;SELECT pg_catalog.pg_current_xact_id()").await?;
    let counted = session.query_one(sql, &[&snapshot]).await;
    session.batch_execute("ROLLBACK").await?;
    Ok(u64::try_from(counted?.get::<_, i64>(0)).unwrap_or_default())
}
