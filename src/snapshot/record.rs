//! What a manifest records about the server and the database besides their rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The run that it was taken for.
    pub run: Option<String>,
    /// The command, such as `apply menu 0007`.
    pub command: String,
}

/// The server that was copied from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// `server_version`, such as `15.20 (Debian 15.20-1)`.
    pub version: String,
    /// `server_version_num`, such as 150020.
    pub version_num: u32,
    /// `system_identifier` of `pg_control_system()`, or why it could not be read.
    pub system_identifier: String,
    /// The version of the `pg_dump` that wrote the archives.
    pub pg_dump_version: String,
    /// The write-ahead log position of the snapshot.
    pub lsn: String,
    /// Settings that change results, by name.
    pub settings: BTreeMap<String, String>,
}

/// The database that was copied, beyond what its archives hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRecord {
    /// Its name.
    pub name: String,
    /// Its OID in the cluster.
    pub oid: u32,
    /// Its owner.
    pub owner: String,
    /// Its encoding, by PostgreSQL's name (`UTF8`). The rows are in it.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `c` (libc), `i` (ICU) or `b` (built in).
    pub locale_provider: String,
    /// The ICU or built-in locale.
    pub icu_locale: Option<String>,
    /// The version of the collation.
    pub collation_version: Option<String>,
    /// The access privileges, as in `pg_database.datacl`.
    pub acl: Option<String>,
    /// The connection limit; -1 is none.
    pub connection_limit: i32,
    /// The comment.
    pub comment: Option<String>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    pub settings: Vec<DatabaseSetting>,
}

/// One setting of a database, or of a role in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSetting {
    /// The role, or `None` for all.
    pub role: Option<String>,
    /// `name=value`, as in `pg_db_role_setting`.
    pub setting: String,
}

/// Where a sequence stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRecord {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// Whether `last_value` was handed out already.
    pub is_called: bool,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionRecord {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The schema it was installed into.
    pub schema: String,
}
