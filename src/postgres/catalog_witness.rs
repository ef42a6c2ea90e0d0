//! A witness of the catalogs: when two are equal, `pg_dump --schema-only` would write the same text at both times.
//!
//! # Why that holds
//! A dump of the schema is made of rows in catalogs and of nothing else. Every change of such a row makes a new version
//! of it, with the number of its transaction as `xmin`. The first witness keeps a horizon: all transactions below it had
//! ended by then, with their subtransactions, prepared ones among the running. A row that a later witness sees with an
//! `xmin` below the horizon was therefore seen by the first as well; when there are as many of them as before, none has
//! gone, and they are the same. Rows from the horizon on are compared one by one (`ctid` and `xmin`). So equal witnesses
//! say that nobody committed a change in between, not even one that was taken back; and a dump that ran in between, or
//! runs now, reads the same rows under every snapshot, also in the functions that look at the newest one
//! (`pg_get_viewdef`). An `xmin` so old that it counts as new, and rows that moved, cost a dump and hide nothing.
//!
//! What else could change the text, and what becomes of it:
//! - *Updates in place* keep `xmin`: the sizes of a table, the flags of `pg_class` that VACUUM clears when the last index,
//!   rule or trigger is gone, and frozen horizons. No dump shows them. Since 14 the flags of `pg_index` are none.
//! - *Rows that this role may not read* (`pg_authid`, `pg_user_mapping`, a part of `pg_subscription`): the contents of what
//!   it may read of them, which is all that `pg_dump` could. Where that is nothing, there is no witness.
//! - *Settings* decide how constants are printed. Those of a database or role are rows; the server's are known by when its
//!   configuration was loaded and when it was started.
//! - *Transactions lost in a crash*: their numbers are used again. A server that was started again, or another one in its
//!   place, gives no equal witness; where it recovered without a start, the sessions of the run are gone, and so is the run.
//! - *Locks*: where somebody holds or awaits a lock that a dump would wait for, there is no witness, and the dump waits.
//! - *Another pg_dump, other arguments, a library of a type that was replaced on the disk*: not seen from here. A run has
//!   the same programs from its beginning to its end, and the entries that are ignored are the caller's to compare.
//!
//! Which catalogs there are the server says, so that none of a new version is forgotten.

use super::{DatabaseError, Session, quote_literal};

/// Statistics and large objects: rows, not schema. `pg_dump --schema-only` reads none of them.
const NOT_SCHEMA: [&str; 4] = ["pg_statistic", "pg_statistic_ext_data", "pg_largeobject", "pg_largeobject_metadata"];

/// Views in which everybody may read a catalog that is for superusers.
const VIEWS: [(&str, &str); 2] = [("pg_authid", "pg_roles"), ("pg_user_mapping", "pg_user_mappings")];

/// Shared catalogs with rows about each database: the others' are none of a dump's business.
const OF_DATABASES: [(&str, &str); 3] =
    [("pg_database", "oid"), ("pg_shdepend", "dbid"), ("pg_db_role_setting", "setdatabase")];

/// What is known before the catalogs are read: whether a dump would wait, the horizon, and the server's start and
/// configuration; then each catalog, whether it may be read whole, and which of its columns may be read otherwise.
const GROUND: &str = "
    WITH now AS MATERIALIZED (
        SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text AS horizon,
               concat(extract(epoch FROM pg_catalog.pg_postmaster_start_time()), ' ',
                      extract(epoch FROM pg_catalog.pg_conf_load_time())) AS begun,
               (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS database,
               EXISTS (SELECT FROM pg_catalog.pg_locks l
                        WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
                          AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
                          AND l.database IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                                                  WHERE d.datname = pg_catalog.current_database()))) AS locked)
    SELECT now.horizon, now.begun, now.database, now.locked, c.relname::text,
           pg_catalog.has_table_privilege(c.oid, 'SELECT'),
           CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN
                (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(a.attname) ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')) END
      FROM now, pg_catalog.pg_class c
     WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
     ORDER BY 5";

/// What was seen of one catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    catalog: String,
    rows: i64,
    /// The rows from the horizon on, or the hash of what may be read.
    named: Vec<String>,
}

/// What all catalogs of a database held at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogWitness {
    horizon: String,
    begun: String,
    seen: Vec<Seen>,
}

impl CatalogWitness {
    /// Asks the catalogs as `session` sees them. To be compared with an `earlier` one of the same database, it must be
    /// asked with that one's horizon.
    ///
    /// None: something cannot be read, or a dump would wait for somebody's lock.
    pub async fn read(session: &Session, earlier: Option<&Self>) -> Result<Option<Self>, DatabaseError> {
        let ground = session.query(GROUND, &[]).await?;
        let Some(first) = ground.first().filter(|first| !first.get::<_, bool>(3)) else { return Ok(None) };
        let (database, begun): (u32, String) = (first.get(2), first.get(1));
        let horizon = earlier.map_or_else(|| first.get(0), |earlier| earlier.horizon.clone());
        let mut questions = Vec::new();
        for row in &ground {
            let (catalog, whole, columns): (&str, bool, Option<Vec<String>>) = (row.get(4), row.get(5), row.get(6));
            if NOT_SCHEMA.contains(&catalog) {
                continue;
            }
            if whole {
                questions.push(rows_of(catalog, &horizon, database));
                continue;
            }
            let view = VIEWS.iter().find(|(name, _)| *name == catalog).map(|(_, view)| *view);
            match (view, columns) {
                (Some(view), _) => questions.push(contents_of(catalog, view, "*")),
                (None, Some(columns)) => questions.push(contents_of(catalog, catalog, &columns.join(", "))),
                (None, None) => return Ok(None),
            }
        }
        let rows = session.query(&questions.join(" UNION ALL "), &[]).await?;
        Ok(Some(Self { horizon, begun, seen: rows.iter().map(seen).collect() }))
    }
}

fn seen(row: &tokio_postgres::Row) -> Seen {
    let mut named = row.get::<_, Option<Vec<String>>>(2).unwrap_or_default();
    named.sort_unstable();
    Seen { catalog: row.get(0), rows: row.get(1), named }
}

/// How many rows there are, and which ones from the horizon on.
fn rows_of(catalog: &str, horizon: &str, database: u32) -> String {
    let of_database = OF_DATABASES.iter().find(|(name, _)| *name == catalog);
    let of_database = of_database.map(|(_, column)| format!("WHERE c.{column} IN (0, {database})")).unwrap_or_default();
    let horizon = quote_literal(horizon);
    format!(
        "SELECT {}, pg_catalog.count(*), pg_catalog.array_agg(c.ctid::text || c.xmin::text) FILTER \
           (WHERE pg_catalog.age(c.xmin) <= (SELECT pg_catalog.age({horizon}::pg_catalog.xid8::pg_catalog.xid))) \
         FROM ONLY pg_catalog.{} c {of_database}",
        quote_literal(catalog),
        super::quote_identifier(catalog)
    )
}

/// The hash of what may be read: it may hold passwords. A moment is printed in the time zone of the session, and no dump
/// shows when a password ends.
fn contents_of(catalog: &str, from: &str, columns: &str) -> String {
    let row = "(pg_catalog.to_jsonb(r) - 'rolvaliduntil'::text)::text";
    let all = format!("pg_catalog.string_agg({row}, ',' ORDER BY {row} COLLATE pg_catalog.\"C\")");
    let backslash = "pg_catalog.chr(92)";
    let bytes = format!("pg_catalog.replace({all}, {backslash}, {backslash} || {backslash})::pg_catalog.bytea");
    format!(
        "SELECT {}, pg_catalog.count(*), ARRAY[coalesce(pg_catalog.encode(pg_catalog.sha256({bytes}), 'hex'), '')] \
         FROM (SELECT {columns} FROM pg_catalog.{}) r",
        quote_literal(catalog),
        super::quote_identifier(from)
    )
}
