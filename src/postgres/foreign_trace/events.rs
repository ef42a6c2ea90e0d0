//! The event triggers, and what they noted.

use super::super::{DatabaseError, LockMode, Session};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A data definition command ended.
    Command,
    /// A table was written anew.
    Rewrite,
    /// Something was dropped.
    Drop,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Seconds since 1970, by the shadow's clock.
    pub at: f64,
    /// Process of the session.
    pub pid: i32,
    /// `ALTER TABLE`, or the kind of object that was dropped.
    pub tag: String,
    /// The object.
    pub object: String,
    /// The statement, as the client sent it.
    pub query: String,
    /// The strongest lock on each table that was there before, while it happened.
    pub locks: Vec<(LockMode, String)>,
}

const INSTALL: &str = "
BEGIN;
CREATE SCHEMA safe_migrate_trace;
CREATE TABLE safe_migrate_trace.there AS SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'm');
CREATE TABLE safe_migrate_trace.event (
    number bigint GENERATED ALWAYS AS IDENTITY, kind text, at double precision, pid integer, tag text, object text,
    query text DEFAULT current_query(), locks text[]
);
CREATE FUNCTION safe_migrate_trace.note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
    held text[];
    happened double precision := extract(epoch FROM clock_timestamp());
BEGIN
    SELECT array_agg(DISTINCT l.mode || ' ' || l.relation::regclass) INTO held
      FROM pg_locks l JOIN safe_migrate_trace.there t ON t.oid = l.relation
     WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation';
    IF TG_EVENT = 'ddl_command_end' THEN
        INSERT INTO safe_migrate_trace.event (kind, at, pid, tag, object, locks)
        SELECT 'command', happened, pg_backend_pid(), command_tag, coalesce(object_identity, ''), held
          FROM pg_event_trigger_ddl_commands();
    ELSIF TG_EVENT = 'table_rewrite' THEN
        INSERT INTO safe_migrate_trace.event (kind, at, pid, tag, object, locks)
        VALUES ('rewrite', happened, pg_backend_pid(), TG_TAG, pg_event_trigger_table_rewrite_oid()::regclass, held);
    ELSE
        INSERT INTO safe_migrate_trace.event (kind, at, pid, tag, object, locks)
        SELECT 'drop', happened, pg_backend_pid(), object_type, object_identity, held
          FROM pg_event_trigger_dropped_objects() WHERE original AND NOT is_temporary;
    END IF;
END $$;
CREATE EVENT TRIGGER safe_migrate_commands ON ddl_command_end EXECUTE FUNCTION safe_migrate_trace.note();
CREATE EVENT TRIGGER safe_migrate_rewrites ON table_rewrite EXECUTE FUNCTION safe_migrate_trace.note();
CREATE EVENT TRIGGER safe_migrate_drops ON sql_drop EXECUTE FUNCTION safe_migrate_trace.note();
COMMIT";

/// Installs them.
pub(super) async fn install(session: &Session) -> Result<(), DatabaseError> {
    Ok(session.batch_execute(INSTALL).await?)
}

/// Reads what they noted, in order, and removes them.
pub(super) async fn take(session: &Session) -> Result<Vec<Event>, DatabaseError> {
    let sql =
        "SELECT kind, at, pid, tag, object, query, coalesce(locks, '{}') FROM safe_migrate_trace.event ORDER BY number";
    let rows = session.query(sql, &[]).await?;
    session
        .batch_execute(
            "BEGIN;
             DROP EVENT TRIGGER safe_migrate_commands;
             DROP EVENT TRIGGER safe_migrate_rewrites;
             DROP EVENT TRIGGER safe_migrate_drops;
             DROP SCHEMA safe_migrate_trace CASCADE;
             COMMIT",
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Event {
            kind: match row.get::<_, &str>(0) {
                "rewrite" => EventKind::Rewrite,
                "drop" => EventKind::Drop,
                _ => EventKind::Command,
            },
            at: row.get(1),
            pid: row.get(2),
            tag: row.get(3),
            object: row.get(4),
            query: row.get(5),
            locks: strongest(&row.get::<_, Vec<String>>(6)),
        })
        .collect())
}

/// `AccessExclusiveLock public.dish` and its like, one for each table.
fn strongest(held: &[String]) -> Vec<(LockMode, String)> {
    let mut locks: Vec<(LockMode, String)> = Vec::new();
    for (mode, table) in held.iter().filter_map(|one| one.split_once(' ')) {
        let Some(mode) = LockMode::from_catalog(mode) else { continue };
        match locks.iter_mut().find(|(_, name)| name == table) {
            Some(lock) => lock.0 = lock.0.max(mode),
            None => locks.push((mode, table.to_owned())),
        }
    }
    locks
}
