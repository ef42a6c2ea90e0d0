//! `pg_dump` and `pg_restore`: the schema as an archive, as text, and back into a database.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{ConnectionError, ConnectionSpec, Programs, Session};

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be started, or its pipe broke.
    #[error("{doing} could not be run: {source}")]
    Start {
        /// What it was to do.
        doing: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("{doing} failed: {message}")]
    Failed {
        /// What it was to do.
        doing: String,
        /// Its own words, without the repetitions.
        message: String,
    },
    /// Its connection cannot be described to it.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl ArchiveError {
    fn start(doing: &str, source: std::io::Error) -> Self {
        Self::Start { doing: doing.to_owned(), source }
    }

    fn failed(doing: &str, stderr: &[u8]) -> Self {
        let text = String::from_utf8_lossy(stderr);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(12).collect();
        let message = if lines.is_empty() { "it printed nothing".to_owned() } else { lines.join("\n  ") };
        Self::Failed { doing: doing.to_owned(), message }
    }
}

/// Which part of an archive to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Everything that must be there before rows are loaded.
    PreData,
    /// Indexes, constraints, triggers, rules, policies, materialized views' rows.
    PostData,
}

/// What becomes of the tablespaces that an archive names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tablespaces {
    /// As it says: the server has them all.
    AsRecorded,
    /// Everything goes to the database's own.
    Default,
}

impl Section {
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::PreData => "--section=pre-data",
            Self::PostData => "--section=post-data",
        }
    }
}

/// What `pg_dump` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// One compressed file for `pg_restore`.
    Custom,
    /// A directory for `pg_restore`, with a compressed file for each table.
    Directory,
    /// SQL for `psql`.
    Plain,
}

impl ArchiveFormat {
    /// Its name, as `pg_dump --format` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Directory => "directory",
            Self::Plain => "plain",
        }
    }
}

/// What a program is doing, for its error message, with what it printed to stderr.
pub(super) async fn output(mut command: Command, doing: &str) -> Result<Vec<u8>, ArchiveError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.map_err(|source| ArchiveError::start(doing, source))?;
    if output.status.success() { Ok(output.stdout) } else { Err(ArchiveError::failed(doing, &output.stderr)) }
}

/// The `pg_dump` of the server's version for the database of `spec`, on which `session` is open.
///
/// Its text is UTF-8, but for a database without an encoding: the bytes in that may be anything.
async fn dumping(programs: &Programs, spec: &ConnectionSpec, session: &Session) -> Result<Command, ArchiveError> {
    let mut command = programs.command("pg_dump");
    spec.for_program(&mut command).await?;
    if session.parameter("server_encoding") == Some("SQL_ASCII") {
        command.env("PGCLIENTENCODING", "SQL_ASCII");
    }
    Ok(command)
}

/// What a program printed. Bytes that are not UTF-8 are read as Latin-1, so that different ones stay different.
pub(super) fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// What the programs of one snapshot call themselves on the server, so that who makes them wait can be found.
pub fn dump_session_name(snapshot: &str) -> String {
    format!("safe-migrate snapshot {snapshot}")
}

/// Dumps the schema of the database as one custom-format archive, as seen by an exported snapshot.
///
/// Large objects are left out (15 to 16 keep their definitions in pre-data, 17 and later do not); they have an
/// archive of their own. It has no limit for its locks: [`super::blockers::watch`] has one for all of them.
pub async fn dump_schema(
    programs: &Programs,
    spec: &ConnectionSpec,
    (session, snapshot): (&Session, &str),
) -> Result<Vec<u8>, ArchiveError> {
    let mut command = dumping(programs, spec, session).await?;
    command
        .args(["--format=custom", "--compress=0", "--section=pre-data", "--section=post-data", "--no-blobs"])
        .args(["--no-password", "--quote-all-identifiers"])
        .arg(format!("--snapshot={snapshot}"))
        .env("PGAPPNAME", dump_session_name(snapshot));
    output(command, "pg_dump of the schema").await
}

/// Dumps the large objects, with owners, privileges and comments, as seen by an exported snapshot.
///
/// `pg_dump` has no option for large objects alone. With a schema chosen it leaves out all that lies outside, and with
/// `--blobs` adds the large objects; `pg_toast` is in every database and holds nothing that would be dumped (15 and 18).
pub async fn dump_large_objects(
    programs: &Programs,
    spec: &ConnectionSpec,
    (session, snapshot): (&Session, &str),
) -> Result<Vec<u8>, ArchiveError> {
    let mut command = dumping(programs, spec, session).await?;
    command
        .args(["--format=custom", "--blobs", "--schema=pg_toast", "--no-password"])
        .arg(format!("--snapshot={snapshot}"))
        .env("PGAPPNAME", dump_session_name(snapshot));
    output(command, "pg_dump of the large objects").await
}

/// Dumps the schema as text, without the ledger: what a fingerprint is made of. `session` is on the same database.
///
/// As an exported snapshot sees it when one is given: its tables are locked already, and others wait as
/// [`super::blockers::watch`] allows.
pub async fn dump_schema_text(
    programs: &Programs,
    spec: &ConnectionSpec,
    (session, snapshot): (&Session, Option<&str>),
) -> Result<String, ArchiveError> {
    let mut command = dumping(programs, spec, session).await?;
    command.args(["--schema-only", "--no-password", "--exclude-schema=safe_migrate"]);
    match snapshot {
        Some(snapshot) => command.arg(format!("--snapshot={snapshot}")).env("PGAPPNAME", dump_session_name(snapshot)),
        None => command.arg("--lock-wait-timeout=10s"),
    };
    let text = output(command, "pg_dump of the schema").await?;
    Ok(text_of(text))
}

/// Dumps the schema as an archive without the ledger, to be restored into a private database (the normal form).
pub async fn dump_schema_archive(programs: &Programs, spec: &ConnectionSpec) -> Result<Vec<u8>, ArchiveError> {
    let session = spec.connect("safe-migrate").await?;
    dump_schema_archive_beside(programs, spec, &session).await
}

/// The same, with a session on that database that is open already.
pub async fn dump_schema_archive_beside(
    programs: &Programs,
    spec: &ConnectionSpec,
    session: &Session,
) -> Result<Vec<u8>, ArchiveError> {
    let mut command = dumping(programs, spec, session).await?;
    command.args([
        "--format=custom",
        "--compress=0",
        "--schema-only",
        "--no-password",
        "--exclude-schema=safe_migrate",
    ]);
    output(command, "pg_dump of the schema").await
}

/// Dumps the whole database with its rows to `path`, which must not exist. `jobs` count for a directory only.
///
/// The dump is in the database's own `encoding`: bytes of an SQL_ASCII database are not always UTF-8.
pub async fn dump_whole(
    programs: &Programs,
    spec: &ConnectionSpec,
    encoding: &str,
    (format, path): (ArchiveFormat, &Path),
    jobs: usize,
) -> Result<(), ArchiveError> {
    let mut command = programs.command("pg_dump");
    spec.for_program(&mut command).await?;
    command.arg("--no-password").arg(format!("--encoding={encoding}")).arg(format!("--format={}", format.name()));
    command.arg("--file").arg(path);
    if format == ArchiveFormat::Directory {
        command.arg(format!("--jobs={}", jobs.max(1)));
    }
    output(command, "pg_dump of the snapshot").await.map(|_| ())
}

/// The list of contents of an archive, a line per entry, as `pg_restore --list` prints it.
pub async fn list(programs: &Programs, archive: &Path) -> Result<Vec<String>, ArchiveError> {
    let mut command = programs.command("pg_restore");
    command.arg("--list").arg(archive);
    let text = output(command, "pg_restore --list").await?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// The SQL of an archive, as `pg_restore` would send it; entries chosen by `list` when there is one.
pub async fn script(programs: &Programs, archive: &Path, list: Option<&Path>) -> Result<String, ArchiveError> {
    let mut command = programs.command("pg_restore");
    command.arg("--file=-");
    if let Some(list) = list {
        command.arg("--use-list").arg(list);
    }
    command.arg(archive);
    let text = output(command, "pg_restore to text").await?;
    Ok(text_of(text))
}

/// The tablespaces that an archive names.
pub async fn tablespaces(programs: &Programs, archive: &Path) -> Result<Vec<String>, ArchiveError> {
    Ok(tablespaces_of(&script(programs, archive, None).await?))
}

/// Reads `SET default_tablespace = name;` lines (`_selectTablespace` in `pg_backup_archiver.c`).
fn tablespaces_of(script: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.strip_prefix("SET default_tablespace = ")?.strip_suffix(';')?;
        match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => Some(inner.replace("\"\"", "\"")),
            None => Some(name.to_owned()).filter(|name| name != "''"),
        }
    };
    let names: std::collections::BTreeSet<String> = script.lines().filter_map(name).collect();
    names.into_iter().collect()
}

/// Restores one section of an archive into the database of `spec`, entries chosen by `list` when there is one.
pub async fn restore(
    programs: &Programs,
    spec: &ConnectionSpec,
    archive: &Path,
    section: Option<Section>,
    list: Option<&Path>,
    tablespaces: Tablespaces,
    jobs: usize,
) -> Result<(), ArchiveError> {
    let mut command = programs.command("pg_restore");
    spec.for_program(&mut command).await?;
    command.args(["--exit-on-error", "--no-password"]).arg(format!("--dbname={}", spec.database_as_conninfo()));
    if let Some(section) = section {
        command.arg(section.argument());
    }
    if let Some(list) = list {
        command.arg("--use-list").arg(list);
    }
    if tablespaces == Tablespaces::Default {
        command.arg("--no-tablespaces");
    }
    if jobs > 1 && section == Some(Section::PostData) {
        command.arg(format!("--jobs={jobs}"));
    }
    command.arg(archive);
    let doing = match section {
        Some(Section::PreData) => "pg_restore of the schema",
        Some(Section::PostData) => "pg_restore of indexes and constraints",
        None => "pg_restore",
    };
    output(command, doing).await.map(|_| ())
}

/// The entries of an archive's list that are large objects, their privileges and comments.
pub fn large_object_entries(list: &[String]) -> String {
    let kept = list.iter().filter(|line| {
        let entry = line.splitn(4, ' ').nth(3).unwrap_or_default();
        line.starts_with(';') || entry.starts_with("BLOB") || entry.contains(" LARGE OBJECT")
    });
    kept.map(String::as_str).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablespaces_are_read_with_their_quotes() {
        let script =
            "SET default_tablespace = fast;\nSET default_tablespace = '';\nSET default_tablespace = \"S\"\"low\";\n";
        assert_eq!(tablespaces_of(script), ["S\"low", "fast"]);
    }
}
