//! Relations of the user as one query reads them: what they are, how large, and what was counted on them.

use std::collections::BTreeMap;

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use crate::postgres::lock_mode::LockMode;
use crate::postgres::{DatabaseError, Session};

/// What PostgreSQL counts of one relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) scans: u64,
    pub(super) rows_read: u64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
}

impl Counters {
    /// Adds scans that others made for it.
    pub(super) fn add_scans(&mut self, others: Self) {
        self.scans += others.scans;
        self.rows_read += others.rows_read;
    }

    /// What was counted since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            scans: self.scans.saturating_sub(earlier.scans),
            rows_read: self.rows_read.saturating_sub(earlier.rows_read),
            inserted: self.inserted.saturating_sub(earlier.inserted),
            updated: self.updated.saturating_sub(earlier.updated),
            deleted: self.deleted.saturating_sub(earlier.deleted),
        }
    }
}

/// One relation at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    /// `schema.name`.
    pub(super) name: String,
    /// `pg_class.relkind`.
    pub(super) kind: char,
    /// The table of an index; 0 otherwise.
    pub(super) table: u32,
    /// False for an invalid index.
    pub(super) valid: bool,
    pub(super) filenode: u32,
    /// With indexes and TOAST.
    pub(super) bytes: u64,
    /// The main fork alone.
    pub(super) heap_bytes: u64,
    pub(super) counters: Counters,
}

impl Relation {
    pub(super) fn is_index(&self) -> bool {
        matches!(self.kind, 'i' | 'I')
    }

    /// Tables and materialized views: what has rows of its own.
    pub(super) fn has_rows(&self) -> bool {
        matches!(self.kind, 'r' | 'm')
    }
}

/// What one query found.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Write-ahead log position, bytes.
    pub(super) wal: u64,
    /// Relations of the user, by OID.
    pub(super) relations: BTreeMap<u32, Relation>,
    /// Locks that the backend holds, also on relations that it has dropped.
    pub(super) locks: Vec<(u32, LockMode)>,
}

/// OIDs below are the system's own.
const FIRST_USER_OID: u32 = 16_384;

/// Position in the write-ahead log as a number of bytes.
pub(super) const WAL_POSITION: &str =
    "pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0'::pg_catalog.pg_lsn)";

/// The query over the relations of `source`, a table expression with the columns `oid` and `modes`, whose counters are
/// those of the functions with `prefix`. One row without a relation when there are none.
fn query(source: &str, prefix: &str) -> String {
    format!(
        "SELECT {WAL_POSITION}, r.oid, r.modes, n.nspname, c.relname, c.relkind, i.indrelid, i.indisvalid,
                pg_catalog.pg_relation_filenode(c.oid), pg_catalog.pg_total_relation_size(c.oid),
                pg_catalog.pg_relation_size(c.oid), pg_catalog.{prefix}numscans(c.oid),
                pg_catalog.{prefix}tuples_returned(c.oid), pg_catalog.{prefix}tuples_inserted(c.oid),
                pg_catalog.{prefix}tuples_updated(c.oid), pg_catalog.{prefix}tuples_deleted(c.oid)
           FROM (SELECT 1) AS one
                LEFT JOIN ({source}) AS r ON true
                LEFT JOIN pg_catalog.pg_class c ON c.oid = r.oid
                LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
          WHERE n.nspname IS NULL
             OR (n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'safe_migrate'))"
    )
}

/// What the running transaction of `session` has locked, and what it counted there.
///
/// A relation that a transaction has touched stays locked until it ends, so those that it has locked are all.
pub(super) async fn read_locked(session: &Session) -> Result<Reading, DatabaseError> {
    let source = format!(
        "SELECT relation AS oid, pg_catalog.string_agg(mode, ',') AS modes FROM pg_catalog.pg_locks
          WHERE locktype = 'relation' AND granted AND pid = pg_catalog.pg_backend_pid()
            AND relation >= {FIRST_USER_OID} GROUP BY relation"
    );
    read(session, &query(&source, "pg_stat_get_xact_")).await
}

/// All relations with their cumulative counters.
pub(super) async fn read_all(session: &Session) -> Result<Reading, DatabaseError> {
    let source = format!(
        "SELECT oid, NULL AS modes FROM pg_catalog.pg_class
          WHERE oid >= {FIRST_USER_OID} AND relpersistence <> 't'"
    );
    read(session, &query(&source, "pg_stat_get_")).await
}

/// Cumulative scans and rows read of each of these relations, or of all; none before PostgreSQL 15, which tells too
/// late.
///
/// Parallel workers publish what they counted when they end, the leader's transaction what it counted when it ends.
pub(super) async fn read_published(
    observer: &Session,
    only: Option<&BTreeMap<u32, Relation>>,
) -> Result<BTreeMap<u32, Counters>, DatabaseError> {
    let mut published = BTreeMap::new();
    if observer.server_version_num() < 150_000 || only.is_some_and(BTreeMap::is_empty) {
        return Ok(published);
    }
    let only = only.map_or_else(String::new, |relations| {
        let oids: Vec<String> = relations.keys().map(u32::to_string).collect();
        format!("AND oid IN ({})", oids.join(", "))
    });
    let sql = format!(
        "SELECT oid, pg_catalog.pg_stat_get_numscans(oid), pg_catalog.pg_stat_get_tuples_returned(oid)
           FROM pg_catalog.pg_class WHERE oid >= {FIRST_USER_OID} AND relkind IN ('r', 'm') {only}"
    );
    for message in observer.simple_query(&sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let Ok(oid) = u32::try_from(number(&row, 0)) else { continue };
            let counters = Counters { scans: number(&row, 1), rows_read: number(&row, 2), ..Counters::default() };
            published.insert(oid, counters);
        }
    }
    Ok(published)
}

async fn read(session: &Session, sql: &str) -> Result<Reading, DatabaseError> {
    let mut reading = Reading::default();
    for message in session.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            reading.wal = number(&row, 0);
            reading.add(&row);
        }
    }
    Ok(reading)
}

impl Reading {
    fn add(&mut self, row: &SimpleQueryRow) {
        let Some(oid) = row.get(1).and_then(|oid| oid.parse().ok()) else { return };
        let modes = row.get(2).unwrap_or_default().split(',').filter_map(LockMode::from_catalog);
        self.locks.extend(modes.map(|mode| (oid, mode)));
        let (Some(schema), Some(name)) = (row.get(3), row.get(4)) else { return };
        let relation = Relation {
            name: format!("{schema}.{name}"),
            kind: row.get(5).and_then(|kind| kind.chars().next()).unwrap_or(' '),
            table: u32::try_from(number(row, 6)).unwrap_or_default(),
            valid: row.get(7) != Some("f"),
            filenode: u32::try_from(number(row, 8)).unwrap_or_default(),
            bytes: number(row, 9),
            heap_bytes: number(row, 10),
            counters: Counters {
                scans: number(row, 11),
                rows_read: number(row, 12),
                inserted: number(row, 13),
                updated: number(row, 14),
                deleted: number(row, 15),
            },
        };
        self.relations.insert(oid, relation);
    }
}

/// A column as a number; 0 when it is null.
pub(super) fn number(row: &SimpleQueryRow, column: usize) -> u64 {
    row.get(column).and_then(|text| text.parse().ok()).unwrap_or_default()
}
