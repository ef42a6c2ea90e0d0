//! What a restore will do, found out before it does anything.

use crate::postgres::foreign_code::{ForeignCode, FoundCode, TrustedOwners};
use crate::postgres::{ArchiveEntry, catalog, roles, swap};
use crate::report::{format_bytes, format_list};
use crate::snapshot::{Manifest, SnapshotId, SnapshotReader};
use crate::store::Store;

use super::super::project::Server;
use super::super::{Error, Project, manifest_parts};
use super::estimate::{self, Space, TimeEstimate};
use super::since::{self, Since};
use super::swap::in_a_name;
use super::{Destination, RestoreRequest, rights, without};
use crate::postgres::database::{self, BelievedProperties, DatabaseProperties, OperatorsOwn};

/// What a restore will do, before it does anything.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RestorePlan {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Why it was taken.
    pub reason: String,
    /// Name of the database that it holds.
    pub of: String,
    /// When it was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub taken: time::OffsetDateTime,
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: u64,
    /// Name of the database that is filled.
    pub fills: String,
    /// The live name that it belongs to; its lock is held meanwhile.
    pub belongs_to: String,
    /// Name that it gets when the old database is swapped out.
    pub replaces: Option<String>,
    /// Disk that it takes.
    pub space: Space,
    /// Time that it takes.
    pub time: TimeEstimate,
    /// What changed in the live database since the snapshot; none for a database of its own.
    pub since: Option<Since>,
    /// Roles that the snapshot knows and the server lacks.
    pub missing_roles: Vec<String>,
    /// Whether they are made.
    pub makes_roles: bool,
    /// Extensions that the snapshot knows and the server lacks.
    pub missing_extensions: Vec<String>,
    /// Extensions that come back in another version than the recorded one.
    pub other_extension_versions: Vec<String>,
    /// Functions of roles that are not trusted which would run with our rights.
    pub foreign_code: Vec<ForeignCode>,
    /// The same, with the owners of the tables.
    #[serde(skip)]
    pub found_code: FoundCode,
    /// What the database gets on the word of the snapshot alone: owner, privileges, settings that act on each session.
    pub on_its_word: Vec<String>,
    /// Statements for what it does not get, because only the snapshot says so.
    pub not_believed: Vec<String>,
    /// What it gets besides its contents.
    #[serde(skip)]
    pub properties: DatabaseProperties,
    /// Whose functions may run.
    #[serde(skip)]
    pub trusted: TrustedOwners,
    /// What is left out because it was named.
    pub left_out: Vec<String>,
    /// The same, with what goes along.
    #[serde(skip)]
    pub(super) without: without::LeftOut,
    /// All entries of the archive.
    #[serde(skip)]
    pub(super) entries: Vec<ArchiveEntry>,
    /// Whether the rows are there since an earlier restore.
    pub resumes: bool,
    /// Whether too little space stops nothing.
    #[serde(skip)]
    pub goes_on_without_space: bool,
    /// What the role may not do and the snapshot needs.
    pub not_allowed: Vec<String>,
    /// False where the role may have rights that the server does not tell (managed services).
    pub not_allowed_is_certain: bool,
    /// What stands in the way of the swap now.
    pub obstacles: Vec<String>,
    /// Standbys whose sessions will go on reading the old database.
    pub standbys: Vec<String>,
}

impl RestorePlan {
    /// Refuses what would fail half-way.
    pub(super) fn refuse_impossible(&self) -> Result<(), Error> {
        if !self.missing_extensions.is_empty() {
            let names = format_list(&self.missing_extensions);
            return Err(Error::RestoreRefused(format!(
                "the server lacks the files of these extensions: {names}; install them first, or leave one out with \
                 --without 'EXTENSION name'"
            )));
        }
        if !self.missing_roles.is_empty() && !self.makes_roles {
            let names = format_list(&self.missing_roles);
            return Err(Error::RestoreRefused(format!(
                "the server lacks these roles: {names}; --roles makes them, without passwords"
            )));
        }
        if !self.not_allowed.is_empty() && self.not_allowed_is_certain {
            return Err(Error::RestoreRefused(format!(
                "this role may not do what the snapshot needs:\n  {}\n--without 'EVENT TRIGGER name' leaves one out",
                self.not_allowed.join("\n  ")
            )));
        }
        if let Some(free) =
            self.space.free.filter(|free| *free < self.space.needed && !self.goes_on_without_space && !self.resumes)
        {
            return Err(Error::RestoreRefused(format!(
                "about {} are needed where the server keeps its data, and {} are free; a full disk stops the live \
                 databases too. Make room, or go on with --ignore-space",
                format_bytes(self.space.needed),
                format_bytes(free)
            )));
        }
        Ok(())
    }
}

/// Says what a restore would do. Changes nothing.
pub async fn plan_restore(
    project: &Project,
    store: &Store,
    server: &Server,
    reader: &SnapshotReader,
    request: &RestoreRequest,
) -> Result<RestorePlan, Error> {
    let (session, manifest) = (&server.maintenance, reader.manifest());
    if !roles::may_create_databases(session).await? {
        return Err(Error::NoCreatedb { role: project.target.user().to_owned() });
    }
    check_archive_version(server, manifest)?;
    let live = live_name(project, manifest, &request.destination)?;
    let replaces = (request.destination == Destination::InPlace).then(|| live.clone());
    if replaces.is_some() {
        super::swap::refuse_own_database(session, &live).await?;
    }
    let missing_roles = manifest_parts::roles(reader).await?.facts.missing(&roles::names(session).await?);
    let files = without::SchemaFile::read(project, reader).await?;
    let entries = files.entries(server).await?;
    let trusted = super::trusted(project, server, reader, request).await?;
    let left_out = without::find(&entries, &request.without)?;
    let found_code = files.foreign_code(server, &left_out, &trusted).await?;
    let is_left_out = |name: &str| left_out.names.iter().any(|left| left.strip_prefix("EXTENSION ") == Some(name));
    let extensions: Vec<String> =
        manifest.extensions.iter().map(|one| one.name.clone()).filter(|name| !is_left_out(name)).collect();
    let makes_roles = request.roles && !missing_roles.is_empty();
    let not_allowed = rights::refusals(server, manifest, &entries, &left_out.ids, makes_roles).await?;
    let fills = filled_name(&live, manifest, &request.destination)?;
    let in_the_end = replaces.as_ref().unwrap_or(&fills);
    let believed = believed(project, store, server, reader, (&live, in_the_end)).await?;
    let is_beside_live = !matches!(request.destination, Destination::Named(_));
    Ok(RestorePlan {
        snapshot: manifest.id.clone(),
        reason: manifest.reason.command.clone(),
        of: manifest.database.name.clone(),
        taken: manifest.started_at,
        rows: manifest.users_rows(),
        bytes: manifest.totals.raw_bytes,
        fills,
        space: estimate::space(project, session, manifest, &live).await?,
        time: estimate::time(project, store, manifest).await,
        since: if is_beside_live { Some(since::since(project, server, reader, &live).await?) } else { None },
        obstacles: if replaces.is_some() { swap::obstacles(session, &live).await? } else { Vec::new() },
        standbys: if replaces.is_some() { swap::standbys(session).await? } else { Vec::new() },
        belongs_to: live,
        replaces,
        missing_roles,
        makes_roles: request.roles,
        missing_extensions: catalog::missing_extensions(session, &extensions).await?,
        other_extension_versions: other_versions(session, manifest).await?,
        foreign_code: found_code.code.clone(),
        found_code,
        on_its_word: believed.on_its_word,
        not_believed: believed.left_out,
        properties: believed.properties,
        trusted,
        left_out: left_out.names.clone(),
        without: left_out,
        entries,
        resumes: request.failing.resume,
        goes_on_without_space: request.ignore_space,
        not_allowed: not_allowed.lines,
        not_allowed_is_certain: not_allowed.certain,
    })
}

/// The live database, or the one that is put back beside it, is the operator's own.
async fn believed(
    project: &Project,
    store: &Store,
    server: &Server,
    reader: &SnapshotReader,
    (live, in_the_end): (&str, &str),
) -> Result<BelievedProperties, Error> {
    let session = &server.maintenance;
    let mut own = Vec::new();
    for name in [live, &reader.manifest().database.name] {
        own.extend(OperatorsOwn::read(session, name).await?);
    }
    let is_ours = project.wrote_manifest(store, reader) == Some(true);
    Ok(manifest_parts::properties(reader.manifest()).believed(session, in_the_end, &own, is_ours).await)
}

/// `pg_restore` must be able to read the archive: its version may not be older than the `pg_dump` that wrote it.
pub(in super::super) fn check_archive_version(server: &Server, manifest: &Manifest) -> Result<(), Error> {
    let wrote: u32 =
        manifest.server.pg_dump_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if server.identity.major() < wrote {
        return Err(Error::RestoreRefused(format!(
            "the snapshot was written by pg_dump {}, and the server is PostgreSQL {}: an older server cannot take it",
            manifest.server.pg_dump_version, server.identity.version
        )));
    }
    Ok(())
}

/// The live name that a restore belongs to: the connection's database, or the snapshot's own when the connection
/// names the maintenance database (the one way in when the live database is gone).
fn live_name(project: &Project, manifest: &Manifest, destination: &Destination) -> Result<String, Error> {
    if let Destination::Named(name) = destination {
        return Ok(name.clone());
    }
    let connected = project.target.database();
    let name = &manifest.database.name;
    if connected == name || connected == project.maintenance_database || connected == "template1" {
        return Ok(name.clone());
    }
    Err(Error::RestoreRefused(format!(
        "the snapshot is of database \"{name}\" and the connection names \"{connected}\"; name the place with --to"
    )))
}

fn filled_name(live: &str, manifest: &Manifest, destination: &Destination) -> Result<String, Error> {
    let name = match destination {
        Destination::Named(name) => name.clone(),
        _ => format!("{}{}", database::restored_prefix(live), in_a_name(manifest.id.as_str())),
    };
    if name.len() > 63 {
        return Err(Error::RestoreRefused(format!("\"{name}\" is longer than 63 bytes; choose a name with --to")));
    }
    Ok(name)
}

async fn other_versions(session: &crate::postgres::Session, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let names: Vec<String> = manifest.extensions.iter().map(|one| one.name.clone()).collect();
    let here = catalog::default_extension_versions(session, &names).await?;
    let differs = manifest.extensions.iter().filter_map(|one| {
        let version = here.get(&one.name)?;
        (*version != one.version).then(|| format!("{} {} (recorded: {})", one.name, version, one.version))
    });
    Ok(differs.collect())
}
