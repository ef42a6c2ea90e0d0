//! Reads the schema of a database, as it is (raw) or after one round trip through a private database (normal).
//!
//! PostgreSQL rewrites expressions when a schema is dumped and restored (`status IN ('a','b')` on a varchar column
//! reads back with other casts); after one round trip it is a fixpoint. So the raw form compares a database with its
//! own past only, and the normal form is the only one compared between databases.

use crate::postgres::{ConnectionSpec, Programs, Section, Tablespaces, archive, catalog, prepare_copy_session};
use crate::schema::{Extension, FingerprintRecord, Schema};

use super::Error;
use super::shadow::Shadow;

/// A schema with the record of its fingerprint.
#[derive(Clone, Debug)]
pub struct SchemaReading {
    /// The entries.
    pub schema: Schema,
    /// Hash, with the versions that make it comparable.
    pub record: FingerprintRecord,
}

impl SchemaReading {
    /// The same reading without the entries that these patterns name.
    pub fn ignoring(self, programs: &Programs, ignore: &[String]) -> Self {
        let schema = self.schema.ignoring(ignore);
        let record = FingerprintRecord::new(programs.version().to_string(), schema.fingerprint());
        Self { schema, record }
    }
}

/// Reads the schema of a database as it is.
pub async fn read_raw(programs: &Programs, spec: &ConnectionSpec, ignore: &[String]) -> Result<SchemaReading, Error> {
    let session = spec.connect("safe-migrate fingerprint").await?;
    prepare_copy_session(&session, None).await?;
    let extensions = catalog::extensions(&session).await?;
    let invalid = catalog::invalid_indexes(&session).await?;
    let text = archive::dump_schema_text(programs, spec).await?;
    let extensions = extensions.into_iter().map(|one| Extension { name: one.name, version: one.version }).collect();
    let schema = Schema::from_dump(&text, extensions, invalid).ignoring(ignore);
    let record = FingerprintRecord::new(programs.version().to_string(), schema.fingerprint());
    Ok(SchemaReading { schema, record })
}

/// Brings the schema of any database of the same major version into normal form, in a scratch database of the shadow.
pub async fn read_normal(
    shadow: &Shadow,
    programs: &Programs,
    spec: &ConnectionSpec,
    ignore: &[String],
) -> Result<SchemaReading, Error> {
    let archive = archive::dump_schema_archive(programs, spec).await?;
    let scratch = shadow.scratch_database().await?;
    let path = shadow.write_file("normal.dump", &archive)?;
    let contents = archive::list(programs, &path).await?;
    let list =
        shadow.write_file("normal.list", super::shadow::without_outside_links(&contents).join("\n").as_bytes())?;
    for section in [Section::PreData, Section::PostData] {
        archive::restore(programs, &scratch.spec, &path, Some(section), Some(&list), Tablespaces::Default, 1).await?;
    }
    let reading = read_raw(programs, &scratch.spec, ignore).await;
    shadow.drop_scratch(scratch).await?;
    reading
}
