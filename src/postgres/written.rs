//! What was written since a snapshot: by the server's own counters, and by the length of its log.
//!
//! Sessions report their counters with up to a second's delay, and at the end of a transaction, so a difference of two
//! readings is an estimate. The log is that of the whole server, and exact.

use std::collections::BTreeMap;

use super::{DatabaseError, Session};

/// Rows inserted, updated and deleted by table since the statistics were reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<u32, (String, u64)>);

impl Counters {
    /// Reads them; the ledger's tables are left out, large objects are counted by their pieces.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let rows = session
            .query(
                "SELECT relid, schemaname::text, relname::text, (n_tup_ins + n_tup_upd + n_tup_del)::bigint
                   FROM pg_catalog.pg_stat_all_tables
                  WHERE (schemaname !~ '^pg_' AND schemaname NOT IN ('information_schema', 'safe_migrate'))
                     OR relid = 'pg_catalog.pg_largeobject'::regclass",
                &[],
            )
            .await?;
        let counter = |row: &tokio_postgres::Row| {
            let (oid, schema, name): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
            let shown = match schema.as_str() {
                "pg_catalog" => "large objects".to_owned(),
                "public" => name,
                schema => format!("{schema}.{name}"),
            };
            (oid, (shown, u64::try_from(row.get::<_, i64>(3)).unwrap_or_default()))
        };
        Ok(Self(rows.iter().map(counter).collect()))
    }

    /// Rows written by table since an earlier reading, the most first.
    pub fn since(&self, earlier: &Self) -> Vec<(String, u64)> {
        let mut written: Vec<(String, u64)> = self
            .0
            .iter()
            .map(|(oid, (name, now))| {
                let before = earlier.0.get(oid).map_or(0, |(_, before)| *before);
                // Counters that were reset meanwhile begin at zero.
                (name.clone(), if *now < before { *now } else { now - before })
            })
            .filter(|(_, rows)| *rows > 0)
            .collect();
        written.sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
        written
    }
}

/// Bytes of the server's log since a position in it; none when the position is not one of this server's past.
pub async fn wal_since(session: &Session, lsn: &str) -> Result<Option<u64>, DatabaseError> {
    let row = session
        .query_one(
            "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), $1::text::pg_catalog.pg_lsn)::bigint",
            &[&lsn],
        )
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(of: &[(u32, &str, u64)]) -> Counters {
        Counters(of.iter().map(|(oid, name, rows)| (*oid, ((*name).to_owned(), *rows))).collect())
    }

    #[test]
    fn the_difference_names_the_busiest_first_and_survives_a_reset() {
        let before = counters(&[(1, "a", 10), (2, "b", 5), (3, "c", 7)]);
        let now = counters(&[(1, "a", 11), (2, "b", 5), (3, "c", 2), (4, "new", 9)]);
        let expected = [("new", 9), ("c", 2), ("a", 1)].map(|(name, rows)| (name.to_owned(), rows));
        assert_eq!(now.since(&before), expected);
    }
}
