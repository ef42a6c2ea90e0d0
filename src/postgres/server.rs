//! Who the server is: version, identity and the settings that a copy must share.

use std::collections::BTreeMap;

use super::{DatabaseError, Session};

/// Settings of the server that change results, plans or what a schema may hold. A shadow gets the same values.
///
/// Source: PostgreSQL documentation, chapter 20. File locations, memory and durability are left out on purpose.
const SHARED_SETTINGS: &[&str] = &[
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "DateStyle",
    "default_text_search_config",
    "default_toast_compression",
    "escape_string_warning",
    "extra_float_digits",
    "IntervalStyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "quote_all_identifiers",
    "standard_conforming_strings",
    "TimeZone",
    "transform_null_equals",
    "wal_level",
    "xmlbinary",
    "xmloption",
];

/// The settings of a server that another one may be started with: those that change results, with values that a server
/// takes. They may come from a snapshot, and a server's settings name files that it writes and programs that it runs.
pub fn shareable_settings(settings: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let numbers = |name: &str| ["max_locks_per_transaction", "max_prepared_transactions"].contains(&name);
    let may = |(name, value): &(&String, &String)| {
        let known = SHARED_SETTINGS.contains(&name.as_str());
        // Shared memory is set aside for each; more than this no server has.
        known && (!numbers(name) || value.parse::<u32>().is_ok_and(|number| number <= 100_000))
    };
    settings.iter().filter(may).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Which cluster a session talks to, as the server behind this very connection says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// `system_identifier`: made by `initdb`; a physical standby, a base backup and whatever name or pooler leads to the
    /// server have the same.
    pub system_identifier: String,
    /// Whether the server is a standby.
    pub in_recovery: bool,
}

impl ClusterIdentity {
    /// Reads it over `session`.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let sql = "SELECT system_identifier::text, pg_catalog.pg_is_in_recovery() FROM pg_catalog.pg_control_system()";
        let row = session.query_one(sql, &[]).await?;
        Ok(Self { system_identifier: row.get(0), in_recovery: row.get(1) })
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// As `SHOW server_version` prints it, for instance `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// As `SHOW server_version_num`, for instance 150018.
    pub version_num: u32,
    /// `system_identifier` of `pg_control_system()`: the same for a cluster and its physical standbys.
    pub system_identifier: String,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Name of the bootstrap superuser (OID 10).
    pub bootstrap_role: String,
    /// Values of the shared settings that are not the built-in default.
    pub settings: BTreeMap<String, String>,
}

impl ServerIdentity {
    /// Reads the identity over `session`.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let row = session
            .query_one(
                "SELECT current_setting('server_version'), current_setting('server_version_num')::int4,
                        (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
                        pg_catalog.pg_is_in_recovery(),
                        (SELECT rolname::text FROM pg_catalog.pg_roles WHERE oid = 10)",
                &[],
            )
            .await?;
        let names: Vec<&str> = SHARED_SETTINGS.to_vec();
        let settings = session
            .query(
                // The reset value: what a new session of any database would see, whatever this one has set.
                "SELECT name, coalesce(reset_val, '') FROM pg_catalog.pg_settings
                 WHERE name = ANY ($1) AND source NOT IN ('default', 'session', 'client', 'database', 'user', 'database user')
                 ORDER BY name",
                &[&names],
            )
            .await?;
        Ok(Self {
            version: row.get(0),
            version_num: u32::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
            system_identifier: row.get(2),
            in_recovery: row.get(3),
            bootstrap_role: row.get::<_, Option<String>>(4).unwrap_or_else(|| "postgres".to_owned()),
            settings: settings.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }

    /// Major version, for instance 15.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}
