//! Subscriptions of restored databases: they point at a publisher that belongs to the original.

use super::{ConnectionSpec, ReplaceError, Session, quote_identifier};

const NAMES: &str = "SELECT subname::text FROM pg_catalog.pg_subscription
     WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = $1::text)";

async fn names(session: &Session, database: &str) -> Result<Vec<String>, ReplaceError> {
    Ok(session.query(NAMES, &[&database]).await?.iter().map(|row| row.get(0)).collect())
}

/// Takes the subscriptions of a restored database off their publisher: disabled, and without a slot, because dropping a
/// subscription in a copy would drop the slot of the original. `session` is connected to that database.
pub async fn detach(session: &Session, database: &str) -> Result<Vec<String>, ReplaceError> {
    let names = names(session, database).await?;
    for name in &names {
        let name = quote_identifier(name);
        let sql = format!("ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE)");
        session.batch_execute(&sql).await?;
    }
    Ok(names)
}

/// Drops the subscriptions of a database of ours that is about to be dropped: the server refuses to drop it with them.
/// The publisher is not asked. `session` is a maintenance session, `server` any connection of its server.
pub async fn drop_all(session: &Session, server: &ConnectionSpec, database: &str) -> Result<(), ReplaceError> {
    if names(session, database).await?.is_empty() {
        return Ok(());
    }
    let inside = server.with_database(database).connect("safe-migrate restore").await?;
    for name in detach(&inside, database).await? {
        inside.batch_execute(&format!("DROP SUBSCRIPTION {}", quote_identifier(&name))).await?;
    }
    inside.close().await;
    Ok(())
}
