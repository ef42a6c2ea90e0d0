//! Between what the server says and what the manifest keeps: the snapshot format knows no PostgreSQL session.

use crate::postgres::catalog::{Extension, Sequence, Table};
use crate::postgres::database::DatabaseProperties;
use crate::postgres::roles::{self, ParsedRoles};
use crate::report::format_things;
use crate::snapshot::{
    DatabaseRecord, DatabaseSetting, ExtensionRecord, LEDGER_SCHEMA, Manifest, SequenceRecord, SnapshotReader,
    TableData,
};

use super::Error;

/// The roles of a snapshot's server. What its script says besides is left out, and never run.
pub async fn roles(reader: &SnapshotReader) -> Result<ParsedRoles, Error> {
    let script = reader.get_blob(&reader.manifest().roles).await?;
    let parsed = roles::parse(&String::from_utf8_lossy(&script));
    if !parsed.left_out.is_empty() {
        tracing::warn!(snapshot = %reader.manifest().id, left_out = ?parsed.left_out, "statements that are not about roles are left out");
    }
    Ok(parsed)
}

/// What a snapshot holds, in words: `2 rows in 2 tables and the ledger`.
pub fn counted(manifest: &Manifest) -> String {
    counted_of(manifest.tables.iter().map(|table| (table.schema.as_str(), table.rows.rows)))
}

/// The same of tables by schema and rows.
pub fn counted_of<'a>(tables: impl Iterator<Item = (&'a str, u64)>) -> String {
    let (ours, theirs): (Vec<_>, Vec<_>) = tables.partition(|(schema, _)| *schema == LEDGER_SCHEMA);
    let rows: u64 = theirs.iter().map(|(_, rows)| rows).sum();
    let ledger = if ours.is_empty() { "" } else { " and the ledger" };
    format!("{} in {}{ledger}", format_things(rows, "row"), format_things(theirs.len() as u64, "table"))
}

/// The manifest's record of a database.
pub fn database_record(properties: &DatabaseProperties) -> DatabaseRecord {
    DatabaseRecord {
        name: properties.name.clone(),
        oid: properties.oid,
        owner: properties.owner.clone(),
        encoding: properties.encoding.clone(),
        collate: properties.collate.clone(),
        ctype: properties.ctype.clone(),
        locale_provider: properties.locale_provider.clone(),
        icu_locale: properties.provider_locale.clone(),
        collation_version: properties.collation_version.clone(),
        acl: properties.acl.clone(),
        connection_limit: properties.connection_limit,
        comment: properties.comment.clone(),
        settings: properties
            .settings
            .iter()
            .map(|(role, setting)| DatabaseSetting { role: role.clone(), setting: setting.clone() })
            .collect(),
    }
}

/// The properties with which a database is made again.
pub fn properties(manifest: &Manifest) -> DatabaseProperties {
    let record = &manifest.database;
    DatabaseProperties {
        oid: record.oid,
        name: record.name.clone(),
        owner: record.owner.clone(),
        encoding: record.encoding.clone(),
        collate: record.collate.clone(),
        ctype: record.ctype.clone(),
        locale_provider: record.locale_provider.clone(),
        provider_locale: record.icu_locale.clone(),
        collation_version: record.collation_version.clone(),
        acl: record.acl.clone(),
        connection_limit: record.connection_limit,
        comment: record.comment.clone(),
        settings: record.settings.iter().map(|one| (one.role.clone(), one.setting.clone())).collect(),
        bytes: 0,
    }
}

/// The manifest's records of sequences.
pub fn sequence_records(sequences: Vec<Sequence>) -> Vec<SequenceRecord> {
    sequences
        .into_iter()
        .map(|one| SequenceRecord {
            schema: one.schema,
            name: one.name,
            last_value: one.last_value,
            is_called: one.is_called,
        })
        .collect()
}

/// The recorded sequences.
pub fn sequences(manifest: &Manifest) -> Vec<Sequence> {
    manifest
        .sequences
        .iter()
        .map(|one| Sequence {
            schema: one.schema.clone(),
            name: one.name.clone(),
            last_value: one.last_value,
            is_called: one.is_called,
        })
        .collect()
}

/// The manifest's records of extensions.
pub fn extension_records(extensions: Vec<Extension>) -> Vec<ExtensionRecord> {
    extensions
        .into_iter()
        .map(|one| ExtensionRecord { name: one.name, version: one.version, schema: one.schema })
        .collect()
}

/// A table of the manifest, still without rows.
pub fn table_data(table: &Table) -> TableData {
    TableData {
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns: table.columns.clone(),
        hash_partition_root: table.hash_partition_root.clone(),
        filter: table.filter.clone(),
        segments: Vec::new(),
        rows: Default::default(),
    }
}

/// The `lc_monetary` under which the rows were copied.
pub fn lc_monetary(manifest: &Manifest) -> String {
    manifest.server.settings.get(LC_MONETARY).cloned().unwrap_or_else(|| "C".to_owned())
}

/// Key of `lc_monetary` among the recorded settings.
pub const LC_MONETARY: &str = "lc_monetary";
