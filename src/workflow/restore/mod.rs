//! Restores a snapshot: fills a new database, proves it, and only then swaps names. Destroys nothing.

mod choose;
mod swap;

use std::time::Duration;

use crate::postgres::database::{self, DatabaseProperties, MarkedDatabase};
use crate::postgres::{
    ConnectionSpec, MarkKind, RunLock, RunRecord, Section, Tablespaces, archive, catalog, keep_session, ledger, roles,
    subscription,
};
use crate::report::format_bytes;
use crate::snapshot::{Manifest, SnapshotId, SnapshotReader};
use crate::store::Store;

use super::fill::{self, FillTarget};
use super::project::Server;
use super::proof::{self, Proof};
use super::schema_reading::read_raw;
use super::{Confirmation, Error, Gate, Interrupt, Operator, Project, manifest_parts, run_record};

pub use choose::{Choice, candidates, choose};
pub use swap::{SwapReport, swap};

/// Where a restored database is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Beside the live one, as `<name>_restored_<id>`, to be swapped in later.
    Beside,
    /// Under a new name, as a database of its own.
    Named(String),
    /// In the place of the live one, which is kept.
    InPlace,
}

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Where to.
    pub destination: Destination,
    /// Whether roles that the server lacks are made (without passwords).
    pub roles: bool,
    /// The command in words, for the records.
    pub command: String,
}

/// What a restore will do, before it does anything.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RestorePlan {
    /// The snapshot.
    pub snapshot: SnapshotId,
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
    /// Roles that the snapshot knows and the server lacks.
    pub missing_roles: Vec<String>,
    /// Extensions that the snapshot knows and the server lacks.
    pub missing_extensions: Vec<String>,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// What was planned.
    pub plan: RestorePlan,
    /// What was proven.
    pub proof: Proof,
    /// The swap, when it was asked for.
    pub swap: Option<SwapReport>,
    /// The record of the run.
    pub run: RunRecord,
}

/// The live name that a snapshot belongs to: the connection's database, or the snapshot's own when the connection
/// names the maintenance database (the one way in when the live database is gone).
fn live_name(project: &Project, manifest: &Manifest) -> Result<String, Error> {
    let connected = project.target.database();
    let name = &manifest.database.name;
    if connected == name || connected == project.maintenance_database || connected == "template1" {
        return Ok(name.clone());
    }
    Err(Error::RestoreRefused(format!(
        "the snapshot is of database \"{name}\" and the connection names \"{connected}\"; name the place with --to"
    )))
}

/// Says what a restore would do. Changes nothing.
pub async fn plan_restore(
    project: &Project,
    server: &Server,
    reader: &SnapshotReader,
    destination: &Destination,
) -> Result<RestorePlan, Error> {
    if !roles::may_create_databases(&server.maintenance).await? {
        return Err(Error::NoCreatedb { role: project.target.user().to_owned() });
    }
    let manifest = reader.manifest();
    let live = match destination {
        Destination::Named(name) => name.clone(),
        _ => live_name(project, manifest)?,
    };
    let fills = match destination {
        Destination::Named(name) => name.clone(),
        _ => format!("{}{}", database::restored_prefix(&live), swap::in_a_name(manifest.id.as_str())),
    };
    if fills.len() > 63 {
        return Err(Error::RestoreRefused(format!("\"{fills}\" is longer than 63 bytes; choose a name with --to")));
    }
    let script = String::from_utf8_lossy(&reader.get_blob(&manifest.roles).await?).into_owned();
    let existing = roles::names(&server.maintenance).await?;
    let missing_roles = roles::created_by(&script).into_iter().filter(|name| !existing.contains(name)).collect();
    let extensions: Vec<String> = manifest.extensions.iter().map(|one| one.name.clone()).collect();
    Ok(RestorePlan {
        snapshot: manifest.id.clone(),
        of: manifest.database.name.clone(),
        taken: manifest.started_at,
        rows: manifest.totals.rows,
        bytes: manifest.totals.raw_bytes,
        fills,
        belongs_to: live.clone(),
        replaces: (*destination == Destination::InPlace).then_some(live),
        missing_roles,
        missing_extensions: catalog::missing_extensions(&server.maintenance, &extensions).await?,
    })
}

/// Restores. A failed or interrupted restore drops the database that it was filling and leaves the rest alone.
pub async fn restore(
    project: &Project,
    request: &RestoreRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<RestoreReport, Error> {
    let store = project.open_store().await?;
    let reader = SnapshotReader::open(&store, &request.snapshot).await?;
    let server = project.connect().await?;
    check_archive_version(&server, reader.manifest())?;
    let plan = plan_restore(project, &server, &reader, &request.destination).await?;
    refuse_missing(&plan, request.roles)?;
    keep_session(&server.maintenance).await?;
    let _lock = RunLock::acquire(&server.maintenance, &plan.belongs_to, Duration::ZERO).await?;
    clear_way(project, &server, &plan, operator).await?;
    confirm(&plan, project, operator)?;
    let run = run_record::start(project, &request.command);
    if request.roles {
        make_roles(project, &server, &reader).await?;
    }
    let properties = manifest_parts::properties(reader.manifest());
    let database = database::create(&server.maintenance, &plan.fills, &properties, MarkKind::Unfinished).await?;
    let job = Job { project, store: &store, server: &server, reader: &reader, plan: &plan, properties: &properties };
    let filled = job.fill_and_prove(run, operator, interrupt).await;
    match filled {
        Ok((proof, run)) => job.put_in_place(database, request, proof, run, operator).await,
        Err(error) => {
            operator.step(&format!("dropping \"{}\", which was not finished", database.name));
            database::drop_marked(&server.maintenance, &project.target, &database).await?;
            Err(error)
        }
    }
}

/// `pg_restore` must be able to read the archive: its version may not be older than the `pg_dump` that wrote it.
pub(super) fn check_archive_version(server: &Server, manifest: &Manifest) -> Result<(), Error> {
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

fn refuse_missing(plan: &RestorePlan, roles: bool) -> Result<(), Error> {
    if !plan.missing_extensions.is_empty() {
        let names = plan.missing_extensions.join(", ");
        return Err(Error::RestoreRefused(format!(
            "the server lacks the files of these extensions: {names}; install them first"
        )));
    }
    if !plan.missing_roles.is_empty() && !roles {
        let names = plan.missing_roles.join(", ");
        return Err(Error::RestoreRefused(format!(
            "the server lacks these roles: {names}; --roles makes them, without passwords"
        )));
    }
    Ok(())
}

/// The name to fill must be free; what an earlier restore left unfinished there is dropped.
async fn clear_way(
    project: &Project,
    server: &Server,
    plan: &RestorePlan,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let session = &server.maintenance;
    for stray in database::drop_unfinished(session, &project.target, &plan.belongs_to).await? {
        operator.step(&format!("dropped \"{stray}\", left unfinished by an earlier restore"));
    }
    if !database::exists(session, &plan.fills).await? {
        return Ok(());
    }
    let next = match MarkedDatabase::find(session, &plan.fills, MarkKind::Proven).await? {
        Some(_) => format!("it is a proven restore: safe-migrate restore --swap {}", plan.fills),
        None => "choose another name with --to, or drop it".to_owned(),
    };
    Err(Error::RestoreRefused(format!("database \"{}\" exists already; {next}", plan.fills)))
}

fn confirm(plan: &RestorePlan, project: &Project, operator: &dyn Operator) -> Result<(), Error> {
    let size = format_bytes(plan.bytes);
    let what = match &plan.replaces {
        Some(live) => format!("fill \"{}\" ({size}), prove it and put it in the place of \"{live}\"", plan.fills),
        None => format!("fill the new database \"{}\" ({size}) and prove it", plan.fills),
    };
    match operator.confirm(&format!("{what} on {}?", project.target.display())) {
        Confirmation::Yes => Ok(()),
        Confirmation::No => Err(Gate::NotConfirmed.into()),
        Confirmation::CannotAsk => Err(Gate::CannotAsk.into()),
    }
}

async fn make_roles(project: &Project, server: &Server, reader: &SnapshotReader) -> Result<(), Error> {
    let script = String::from_utf8_lossy(&reader.get_blob(&reader.manifest().roles).await?).into_owned();
    let script = roles::script_for_missing(&script, &roles::names(&server.maintenance).await?);
    let maintenance = project.database(&project.maintenance_database);
    Ok(archive::run_script(&server.programs, &maintenance, script.as_bytes(), false).await?)
}

/// What every step of one restore works with.
struct Job<'a> {
    project: &'a Project,
    store: &'a Store,
    server: &'a Server,
    reader: &'a SnapshotReader,
    plan: &'a RestorePlan,
    properties: &'a DatabaseProperties,
}

impl Job<'_> {
    fn spec(&self) -> ConnectionSpec {
        self.project.database(&self.plan.fills)
    }

    async fn fill_and_prove(
        &self,
        run: RunRecord,
        operator: &dyn Operator,
        interrupt: &Interrupt,
    ) -> Result<(Proof, RunRecord), Error> {
        let files = tempfile::Builder::new()
            .prefix("safe-migrate-")
            .tempdir_in(&self.project.shadow_dir)
            .map_err(|source| Error::File { what: "cannot make a temporary directory".to_owned(), source })?;
        let target = FillTarget {
            spec: self.spec(),
            programs: &self.server.programs,
            files: files.path(),
            jobs: self.project.jobs,
            outside_links: true,
        };
        operator.step(&format!("filling \"{}\" from snapshot {}", self.plan.fills, self.plan.snapshot));
        interrupt.or(fill::fill(&target, self.reader, operator)).await?;
        let manifest = self.reader.manifest();
        let mut proof = interrupt.or(proof::prove(&self.spec(), manifest, self.project.jobs, operator)).await?;
        interrupt.or(self.prove_schema(files.path(), &mut proof)).await?;
        if !proof.differences.is_empty() {
            return Err(Gate::ProofFailed(proof.differences).into());
        }
        let run = self.close_ledger(run).await?;
        let session = self.spec().connect("safe-migrate restore").await?;
        database::copy_properties(&session, &self.plan.fills, self.properties).await?;
        Ok((proof, run))
    }

    /// The same archive by plain `pg_restore`, without rows, in a scratch database beside.
    async fn prove_schema(&self, files: &std::path::Path, proof: &mut Proof) -> Result<(), Error> {
        // Its name begins like that of a restored database, so that the next restore drops it if we die here.
        let tail = hex::encode(rand::random::<[u8; 4]>());
        let name = format!("{}{tail}", database::restored_prefix(&self.plan.belongs_to));
        let session = &self.server.maintenance;
        let scratch = database::create(session, &name, self.properties, MarkKind::Unfinished).await?;
        let result = self.prove_schema_with(&self.project.database(&name), files, proof).await;
        database::drop_marked(session, &self.project.target, &scratch).await?;
        result
    }

    async fn prove_schema_with(
        &self,
        scratch: &ConnectionSpec,
        files: &std::path::Path,
        proof: &mut Proof,
    ) -> Result<(), Error> {
        let archive_file = files.join("schema.dump");
        let programs = &self.server.programs;
        for section in [Section::PreData, Section::PostData] {
            archive::restore(programs, scratch, &archive_file, Some(section), None, Tablespaces::Default, 1).await?;
        }
        subscription::detach(&scratch.connect("safe-migrate proof").await?, scratch.database()).await?;
        proof::prove_schema(programs, &self.spec(), scratch, proof).await
    }

    /// The restored ledger knows nothing of what came after the snapshot: its unfinished runs end as `restored`, and
    /// this run records the schema as it is now, so that the next one does not call the round trip drift.
    async fn close_ledger(&self, mut run: RunRecord) -> Result<RunRecord, Error> {
        let reading = read_raw(&self.server.programs, &self.spec(), &self.project.fingerprint_ignore).await?;
        run.fingerprint_after = Some(super::json("the fingerprint", &reading.record)?);
        run.snapshot_id = Some(self.plan.snapshot.to_string());
        run_record::finish(&mut run, "done", None);
        let session = self.spec().connect("safe-migrate restore").await?;
        ledger::close_restored(&session, &run).await?;
        Ok(run)
    }

    async fn put_in_place(
        &self,
        database: MarkedDatabase,
        request: &RestoreRequest,
        proof: Proof,
        run: RunRecord,
        operator: &dyn Operator,
    ) -> Result<RestoreReport, Error> {
        let session = &self.server.maintenance;
        let swapped = match &request.destination {
            Destination::Named(_) => {
                database.release(session).await?;
                None
            }
            Destination::Beside => {
                database.change_kind(session, MarkKind::Proven).await?;
                None
            }
            Destination::InPlace => {
                let proven = database.change_kind(session, MarkKind::Proven).await?;
                let live = self.plan.replaces.clone().unwrap_or_else(|| self.plan.of.clone());
                Some(swap::swap_proven(session, &live, &proven, &run.id, operator).await?)
            }
        };
        run_record::write(self.store, &self.project.source, &run).await?;
        Ok(RestoreReport { plan: self.plan.clone(), proof, swap: swapped, run })
    }
}
