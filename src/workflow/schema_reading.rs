//! Reads the schema of a database, as it is (raw) or after one round trip through a private database (normal).
//!
//! PostgreSQL rewrites expressions when a schema is dumped and restored (`status IN ('a','b')` on a varchar column
//! reads back with other casts); after one round trip it is a fixpoint. So the raw form compares a database with its
//! own past only, and the normal form is the only one compared between databases.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::postgres::{ConnectionSpec, Programs, Session, Tablespaces, archive, catalog, prepare_copy_session};
use crate::schema::{Extension, FingerprintRecord, Schema};

use super::Error;
use super::shadow::{Scratch, Shadow};

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

/// The raw fingerprint of one database at one time, with the patterns of the entries that it leaves out.
///
/// Equal ones are of the same text of the same pg_dump, so the normal forms are equal too. Unequal ones say nothing:
/// then the normal forms must be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRecord {
    /// Of the raw schema.
    pub raw: FingerprintRecord,
    /// `[fingerprint] ignore`.
    pub ignored: Vec<String>,
}

/// Reads the schema of a database as it is.
pub async fn read_raw(programs: &Programs, spec: &ConnectionSpec, ignore: &[String]) -> Result<SchemaReading, Error> {
    let session = spec.connect("safe-migrate fingerprint").await?;
    prepare_copy_session(&session, None).await?;
    read_as_seen(programs, spec, (&session, None), ignore).await
}

/// The same with a session on that database that is open already; under its exported snapshot when that is named.
pub async fn read_as_seen(
    programs: &Programs,
    spec: &ConnectionSpec,
    (session, snapshot): (&Session, Option<&str>),
    ignore: &[String],
) -> Result<SchemaReading, Error> {
    let text = async { Ok(archive::dump_schema_text(programs, spec, (session, snapshot)).await?) };
    read_with(programs, session, text, ignore).await
}

/// What a dump says, and what it does not.
async fn read_with(
    programs: &Programs,
    session: &Session,
    text: impl Future<Output = Result<String, Error>>,
    ignore: &[String],
) -> Result<SchemaReading, Error> {
    // At the same time: pg_dump has a session of its own.
    let (extensions, invalid, text) = tokio::try_join!(
        async { Ok::<_, Error>(catalog::extensions(session).await?) },
        async { Ok(catalog::invalid_indexes(session).await?) },
        text,
    )?;
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
    let archive = dumped(shadow, programs, spec).await?;
    normal_of(shadow, programs, &archive, ignore).await
}

/// Reads a schema of the shadow as it is and in normal form, from one dump. `session` is on that database.
pub async fn read_raw_and_normal(
    shadow: &Shadow,
    programs: &Programs,
    (spec, session): (&ConnectionSpec, &Session),
    ignore: &[String],
) -> Result<(SchemaReading, SchemaReading), Error> {
    let archive = archive::dump_schema_archive_beside(programs, spec, session).await?;
    let archive = shadow.write_file(ARCHIVE, &archive)?;
    let text = async { Ok(archive::script(programs, &archive, None).await?) };
    let raw = read_with(programs, session, text, ignore).await?;
    Ok((raw, normal_of(shadow, programs, &archive, ignore).await?))
}

async fn normal_of(
    shadow: &Shadow,
    programs: &Programs,
    archive: &Path,
    ignore: &[String],
) -> Result<SchemaReading, Error> {
    let scratch = shadow.scratch_database().await?;
    fill(shadow, programs, archive, &scratch).await?;
    let reading = read_raw(programs, &scratch.spec, ignore).await;
    shadow.drop_scratch(scratch).await?;
    reading
}

/// Makes the schema of a database in an empty one: there it is in normal form.
pub async fn make_normal(
    shadow: &Shadow,
    programs: &Programs,
    spec: &ConnectionSpec,
    scratch: &Scratch,
) -> Result<(), Error> {
    let archive = dumped(shadow, programs, spec).await?;
    fill(shadow, programs, &archive, scratch).await
}

/// The file of a schema that is brought to its normal form.
const ARCHIVE: &str = "normal.dump";

/// The schema as an archive, in a file that lives as long as the shadow.
async fn dumped(shadow: &Shadow, programs: &Programs, spec: &ConnectionSpec) -> Result<PathBuf, Error> {
    let archive = archive::dump_schema_archive(programs, spec).await?;
    shadow.write_file(ARCHIVE, &archive)
}

async fn fill(shadow: &Shadow, programs: &Programs, archive: &Path, scratch: &Scratch) -> Result<(), Error> {
    let contents = archive::list(programs, archive).await?;
    let list =
        shadow.write_file("normal.list", super::shadow::without_outside_links(&contents).join("\n").as_bytes())?;
    shadow.code_of_others().await?.refuse(programs, archive, Some(&list)).await?;
    Ok(archive::restore(programs, &scratch.spec, archive, None, Some(&list), Tablespaces::Default, 1).await?)
}
