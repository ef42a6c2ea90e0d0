//! Restores a snapshot: fills a new database, proves it, and only then swaps names. Destroys nothing.

mod choose;
mod describe;
mod drop_old;
mod estimate;
mod filling;
mod later;
mod plan;
mod rights;
mod roles;
mod since;
mod swap;
mod undo;
mod way_back;
mod without;

use std::time::{Duration, Instant};

use crate::postgres::database::{self, HostedOn, MarkedDatabase};
use crate::postgres::foreign_code::{FoundCode, TrustedOwners};
use crate::postgres::loaders::{self, Loaders};
use crate::postgres::roles::names as roles_there;
use crate::postgres::{MarkKind, PrivateCluster, RunLock, RunRecord, keep_session};
use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::code_of_others::{self, CodeOfOthers};
use super::fill::{Failing, NotMade};
use super::project::Server;
use super::proof::{Proof, ProofLevel};
use super::{Confirmation, Error, Gate, Interrupt, Operator, Project, manifest_parts, run_record, signed};

pub use choose::{Choice, TAKE_ONE, candidates, choose, refused, refused_last};
pub use describe::describe;
pub use drop_old::{DropReport, drop_old};
pub(super) use plan::check_archive_version;
pub use plan::{RestorePlan, plan_restore};
pub use since::{Since, since};
pub use swap::{SwapReport, swap};
pub use undo::{knows, undo};
pub use way_back::WayBack;
use without::LeftOut;

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
    /// How the rows are proven before the database is put in place.
    pub proof: ProofLevel,
    /// Whether all rows are read back when the database is in service already.
    pub prove_later: bool,
    /// Entries of the archive that are left out, such as `EVENT TRIGGER watch`.
    pub without: Vec<String>,
    /// Whether to go on where the disk seems too small.
    pub ignore_space: bool,
    /// Why functions of roles that are not trusted may run; none: a person is asked.
    pub run_foreign_code: Option<String>,
    /// What is done with what does not come back.
    pub failing: Failing,
    /// The command in words, for the records.
    pub command: String,
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
    /// When it was in service and proven.
    pub moments: Moments,
    /// What did not come back, and was left out for that.
    pub not_made: Vec<NotMade>,
    /// Roles that were made, can log in, and have no password.
    pub without_password: Vec<String>,
    /// The record of the run.
    pub run: RunRecord,
}

/// Restores. A failed or interrupted restore drops the database that it was filling and leaves the rest alone.
pub async fn restore(
    project: &Project,
    request: &RestoreRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<RestoreReport, Error> {
    let store = project.open_store().await?;
    let reader = project.open_snapshot(&store, &request.snapshot, operator).await?;
    signed::refuse_stranger(project, &store, &reader, operator).await?;
    let server = project.connect().await?;
    later::refuse(&server, request).await?;
    sweep(project, operator).await;
    let plan = plan_restore(project, &store, &server, &reader, request).await?;
    plan.refuse_impossible()?;
    keep_session(&server.maintenance).await?;
    let _lock = RunLock::acquire(&server.maintenance, &plan.belongs_to, Duration::ZERO).await?;
    clear_way(project, &server, &plan, operator).await?;
    operator.step(describe(&plan).trim_end());
    let code = &decide(&plan, request, operator)?;
    confirm(&plan, project, operator)?;
    interrupt.check()?;
    let job = Job { project, server: &server, reader: &reader, plan: &plan, request, operator, code };
    carry_out(job, &store, interrupt).await
}

/// Whether functions of others may run, before anything is made. Whether they can be kept in their place by logins of our
/// own turns out when there is a database to log in to.
fn decide(plan: &RestorePlan, request: &RestoreRequest, operator: &dyn Operator) -> Result<CodeOfOthers, Error> {
    let (found, trusted) = (&plan.found_code, plan.trusted.clone());
    if found.code.is_empty() {
        return Ok(CodeOfOthers::OnlyOf(trusted));
    }
    if request.run_foreign_code.is_none() && found.is_loaded_by_owners() {
        return Ok(CodeOfOthers::ByLogins(trusted, Loaders::default()));
    }
    code_of_others::accept(&found.code, request.run_foreign_code.as_deref(), operator)?;
    Ok(CodeOfOthers::Accepted)
}

/// Whose functions may run: those of superusers, also of the ones that the restore makes.
async fn trusted(
    project: &Project,
    server: &Server,
    reader: &SnapshotReader,
    request: &RestoreRequest,
) -> Result<TrustedOwners, Error> {
    let trusted = code_of_others::trusted(project, &server.maintenance).await?;
    if !request.roles {
        return Ok(trusted);
    }
    let there = roles_there(&server.maintenance).await?;
    let made = manifest_parts::roles(reader).await?.facts.without(&there);
    Ok(trusted.with(made.superusers()))
}

/// Restores for a run that holds the lock and whose operator agreed to it in the configuration: nobody is asked.
pub(super) async fn restore_within_run(
    project: &Project,
    store: &Store,
    server: &Server,
    request: &RestoreRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<RestoreReport, Error> {
    let reader = project.open_snapshot(store, &request.snapshot, operator).await?;
    let plan = plan_restore(project, store, server, &reader, request).await?;
    plan.refuse_impossible()?;
    clear_way(project, server, &plan, operator).await?;
    operator.step(describe(&plan).trim_end());
    let trusted = plan.trusted.clone();
    let code = &match plan.found_code.is_loaded_by_owners() {
        true => CodeOfOthers::ByLogins(trusted, Loaders::default()),
        false => CodeOfOthers::OnlyOf(trusted),
    };
    interrupt.check()?;
    carry_out(Job { project, server, reader: &reader, plan: &plan, request, operator, code }, store, interrupt).await
}

/// What a restore of the whole snapshot would run of roles that are not trusted.
pub(super) async fn foreign_code(
    project: &Project,
    server: &Server,
    reader: &SnapshotReader,
) -> Result<FoundCode, Error> {
    let trusted = code_of_others::trusted(project, &server.maintenance).await?;
    without::SchemaFile::read(project, reader).await?.foreign_code(server, &without::LeftOut::default(), &trusted).await
}

async fn carry_out(job: Job<'_>, store: &Store, interrupt: &Interrupt) -> Result<RestoreReport, Error> {
    let Job { project, plan, request, operator, .. } = job;
    let mut run = run_record::start(project, &request.command, job.server.clock).await;
    run.snapshot_id = Some(plan.snapshot.to_string());
    run_record::keep(store, &project.source, &run, operator).await;
    let result = job.run(&mut run, interrupt).await;
    if let Err(error) = &result {
        let outcome = if matches!(error, Error::Interrupted) { "interrupted" } else { "failed" };
        run_record::finish(&mut run, outcome, Some(error));
    }
    run_record::keep(store, &project.source, &run, operator).await;
    let (Restored { proof, not_made, swap, moments }, without_password) = result?;
    Ok(RestoreReport { plan: plan.clone(), proof, not_made, swap, moments, without_password, run })
}

/// Directories that killed runs left hold schemas; they are removed as far as that is possible.
pub(super) async fn sweep(project: &Project, operator: &dyn Operator) {
    if let Err(error) = PrivateCluster::sweep_orphans(&project.shadow_dir, None).await {
        operator.warn(&format!("a directory that a killed run left was not removed: {error}"));
    }
}

/// Refuses what would stop the restore of this plan, and changes nothing.
pub async fn refuse(server: &Server, plan: &RestorePlan, request: &RestoreRequest) -> Result<(), Error> {
    later::refuse(server, request).await?;
    plan.refuse_impossible()?;
    for kind in [MarkKind::Unfinished, MarkKind::Filled] {
        if !plan.resumes && MarkedDatabase::find(&server.maintenance, &plan.fills, kind).await?.is_some() {
            // It would be dropped.
            return Ok(());
        }
    }
    refuse_taken(server, plan).await
}

/// The name to fill must be free; what an earlier restore left unfinished there is dropped.
async fn clear_way(
    project: &Project,
    server: &Server,
    plan: &RestorePlan,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let session = &server.maintenance;
    let kinds: &[MarkKind] = match plan.resumes {
        true => &[MarkKind::Unfinished],
        false => &[MarkKind::Unfinished, MarkKind::Filled],
    };
    for stray in database::drop_of_kinds(session, &project.target, &plan.belongs_to, kinds).await? {
        operator.step(&format!("dropped \"{stray}\", left unfinished by an earlier restore"));
    }
    for (role, dropped) in loaders::sweep(session).await? {
        match dropped {
            Ok(()) => operator.step(&format!("dropped the login {role}, left by an earlier restore")),
            Err(error) => operator.warn(&format!("login {role}, left by an earlier restore, was not dropped: {error}")),
        }
    }
    refuse_taken(server, plan).await
}

async fn refuse_taken(server: &Server, plan: &RestorePlan) -> Result<(), Error> {
    let session = &server.maintenance;
    if plan.resumes {
        return match MarkedDatabase::find(session, &plan.fills, MarkKind::Filled).await? {
            Some(_) => Ok(()),
            None => Err(Error::RestoreRefused(format!(
                "there is no database \"{}\" that an earlier restore filled; run the command without --resume",
                plan.fills
            ))),
        };
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
    let what = match &plan.replaces {
        Some(live) => format!("fill \"{}\", prove it and put it in the place of \"{live}\"", plan.fills),
        None => format!("fill the new database \"{}\" and prove it", plan.fills),
    };
    ask(operator, &format!("{what} on {}?", project.target.display()))
}

/// Asks before a change.
fn ask(operator: &dyn Operator, question: &str) -> Result<(), Error> {
    match operator.confirm(question) {
        Confirmation::Yes => Ok(()),
        Confirmation::No => Err(Gate::NotConfirmed.into()),
        Confirmation::CannotAsk => Err(Gate::CannotAsk.into()),
    }
}

/// What every step of one restore works with.
struct Job<'a> {
    project: &'a Project,
    server: &'a Server,
    reader: &'a SnapshotReader,
    plan: &'a RestorePlan,
    request: &'a RestoreRequest,
    operator: &'a dyn Operator,
    code: &'a CodeOfOthers,
}

/// What a restore came to.
struct Restored {
    proof: Proof,
    not_made: Vec<NotMade>,
    swap: Option<SwapReport>,
    moments: Moments,
}

/// When a restored database could be used, and when its rows were proven; both since the restore began.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Moments {
    /// Seconds until it was in the place of the live one; none: it was not put there.
    pub in_service_seconds: Option<f64>,
    /// Seconds until its rows were proven.
    pub proven_seconds: f64,
    /// Seconds for which vacuum was held back in the live database by a proof in service.
    pub vacuum_held_back_seconds: Option<f64>,
}

impl Job<'_> {
    async fn run(&self, run: &mut RunRecord, interrupt: &Interrupt) -> Result<(Restored, Vec<String>), Error> {
        let without_password = match self.request.roles {
            true => roles::make_missing(self.server, self.reader).await?,
            false => Vec::new(),
        };
        let begun = Instant::now();
        let mut without = self.plan.without.clone();
        let mut not_made = Vec::new();
        loop {
            match self.attempt(run, &without, interrupt).await {
                Ok((mut proof, database)) => {
                    not_made.extend(proof.not_made.iter().cloned());
                    let mut moments = Moments { proven_seconds: begun.elapsed().as_secs_f64(), ..Moments::default() };
                    let swap = match self.request.prove_later {
                        true => self.put_in_service(database, run, &without, (&mut proof, &mut moments, begun)).await?,
                        false => self.put_in_place(database, run).await?,
                    };
                    if swap.is_some() && moments.in_service_seconds.is_none() {
                        moments.in_service_seconds = Some(begun.elapsed().as_secs_f64());
                    }
                    return Ok((Restored { proof, not_made, swap, moments }, without_password));
                }
                // Rows of these tables cannot be loaded: once more, without them.
                Err(Error::NotMade { not_made: failed, .. })
                    if self.request.failing.keep_going && failed.iter().all(|one| one.id().is_none()) =>
                {
                    let mut named = without.names.clone();
                    for one in &failed {
                        self.operator.warn(&format!("{} is left out: {}", one.entry, one.why));
                        named.push(one.entry.clone());
                    }
                    without = without::find(&self.plan.entries, &named)?;
                    not_made.extend(failed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Fills a database once. What fails is dropped; when all rows are there, it is kept to be gone on with.
    async fn attempt(
        &self,
        run: &mut RunRecord,
        without: &LeftOut,
        interrupt: &Interrupt,
    ) -> Result<(Proof, MarkedDatabase), Error> {
        let session = &self.server.maintenance;
        let properties = &self.plan.properties;
        let database = match self.plan.resumes {
            true => MarkedDatabase::find(session, &self.plan.fills, MarkKind::Filled).await?,
            false => None,
        };
        let database = match database {
            Some(filled) => filled,
            None => {
                database::create(session, &self.plan.fills, properties, MarkKind::Unfinished, HostedOn::Shared).await?
            }
        };
        let mut loaders = Loaders::default();
        let filled = async {
            let code = self.code(&mut loaders).await?;
            self.fill_and_prove(run, properties, (&code, without), interrupt).await
        };
        let result = match filled.await {
            Ok(proof) => Ok((proof, database)),
            Err(Error::NotMade { not_made, .. }) if not_made.iter().any(|one| one.id().is_some()) => {
                let kept = self.keep_filled(database).await;
                self.clean_up(kept.is_none()).await;
                Err(Error::NotMade { not_made, kept })
            }
            Err(error) => {
                self.clean_up(true).await;
                Err(error)
            }
        };
        self.drop_loaders(&loaders).await;
        result
    }

    /// Marks the database as filled; returns the command that goes on with it.
    async fn keep_filled(&self, database: MarkedDatabase) -> Option<String> {
        match database.change_kind(&self.server.maintenance, MarkKind::Filled).await {
            Ok(_) => Some(format!("safe-migrate {} --resume", self.request.command)),
            Err(error) => {
                self.operator.warn(&format!("\"{}\" is not kept: {error}", self.plan.fills));
                None
            }
        }
    }

    /// Whose functions may run now that there is a database: logins are made and tried. Where the server does not let us
    /// make them, or them in, the operator decides.
    async fn code(&self, loaders: &mut Loaders) -> Result<CodeOfOthers, Error> {
        let CodeOfOthers::ByLogins(trusted, _) = self.code else { return Ok(self.code.clone()) };
        let found = &self.plan.found_code;
        let made = async {
            let owners = found.table_owners.iter().cloned();
            loaders.make(&self.server.maintenance, &self.plan.fills, owners).await?;
            if let Some(spec) = loaders.an_owner().and_then(|owner| loaders.connection(&self.spec(), owner)) {
                spec.connect("safe-migrate restore").await?.close().await;
            }
            Ok::<(), Error>(())
        };
        match made.await {
            Ok(()) => Ok(CodeOfOthers::ByLogins(trusted.clone(), loaders.clone())),
            Err(error) => {
                self.operator.warn(&format!("rows cannot be loaded by logins that may do less: {error}"));
                code_of_others::accept(&found.code, None, self.operator)?;
                Ok(CodeOfOthers::Accepted)
            }
        }
    }

    async fn drop_loaders(&self, loaders: &Loaders) {
        if let Err(error) = loaders.drop(&self.server.maintenance).await {
            self.operator.warn(&format!("a login of this restore is left, and the next restore drops it: {error}"));
        }
    }

    /// Drops what this restore made. The lock is ours, so there is nothing else unfinished of this name.
    async fn clean_up(&self, what_was_filled: bool) {
        if what_was_filled {
            self.operator.step(&format!("dropping \"{}\", which was not finished", self.plan.fills));
        }
        let (session, belongs_to) = (&self.server.maintenance, &self.plan.belongs_to);
        if let Err(error) = database::drop_unfinished(session, &self.project.target, belongs_to).await {
            self.operator
                .warn(&format!("\"{}\" is left unfinished, and the next restore drops it: {error}", self.plan.fills));
        }
    }
}
