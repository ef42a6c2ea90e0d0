//! The run's lock and its lease: who has it, who waits for whom, and what a dead run left.

use std::time::Duration;

use crate::postgres::fence::{ClosedFence, FenceRecord};
use crate::postgres::ledger::lease::{self, Lease};
use crate::postgres::{Ledger, LockError, RunLock, RunRecord, name_session};

use super::super::project::Server;
use super::super::{Error, Operator, Project};
use super::Run;

/// Takes the lock, waiting as long as the operator allows; tells whose it is.
pub(in crate::workflow) async fn take(
    project: &Project,
    server: &Server,
    (command, wait): (&str, Duration),
    operator: &dyn Operator,
) -> Result<RunLock, Error> {
    let database = project.target.database();
    // Seen by those who find the lock taken while there is no ledger, and so no lease, yet.
    let actor = &project.actor;
    name_session(&server.maintenance, &format!("safe-migrate {command} by {}@{}", actor.user, actor.host)).await?;
    let tell = |holder: &str| {
        operator.step(&format!("waiting for another run to let go of \"{database}\"{holder}"));
    };
    match RunLock::acquire_telling(&server.maintenance, database, wait, tell).await {
        Err(LockError::Held { database, holder }) => {
            let waits = holder.find("; its COMMIT").map_or("", |at| &holder[at..]);
            let whose = holding(project).await.map(|lease| format!(": {lease}{waits}"));
            Err(LockError::Held { database, holder: whose.unwrap_or(holder) }.into())
        }
        result => {
            let lock = result?;
            lift_left_fence(server, database, operator).await?;
            Ok(lock)
        }
    }
}

/// Lifts what a dead restore left closed to all but superusers, as we may be: nothing refused us.
async fn lift_left_fence(server: &Server, database: &str, operator: &dyn Operator) -> Result<(), Error> {
    let Some(record) = FenceRecord::read(&server.maintenance, database).await? else { return Ok(()) };
    let run = record.run.clone();
    if ClosedFence::left_by(database, record).lift(&server.maintenance).await? {
        operator.warn(&format!("run {run} died while \"{database}\" was closed; it is open again"));
    }
    Ok(())
}

/// The lease of the run that has the lock; none where it cannot be read.
async fn holding(project: &Project) -> Option<Lease> {
    let session = project.target.connect("safe-migrate").await.ok()?;
    lease::read(&session).await.ok()?.pop()
}

/// Names the runs that died. The caller has the lock, so none of them lives.
pub(in crate::workflow) async fn report_dead(
    aside: &crate::postgres::Session,
    ledger: &Ledger,
    operator: &dyn Operator,
) -> Result<(), Error> {
    for run in ledger.unfinished() {
        let what = ledger.left_by(run);
        operator.warn(&format!(
            "run {} ({}) by {} on {} never ended: its lock is free, and {what}",
            run.id, run.command, run.actor, run.host
        ));
    }
    for lease in lease::read(aside).await? {
        if !ledger.unfinished().any(|run| run.id == lease.run_id) {
            operator.warn(&format!("{lease}, died before it changed anything; its lock is free"));
        }
    }
    Ok(())
}

impl Run<'_> {
    /// Writes the lease, where there is a ledger already.
    pub(super) async fn take_lease(&self, record: &RunRecord) -> Result<(), Error> {
        Ok(lease::take(&self.prepared.aside, record, self.prepared.session.backend_pid(), &self.project.ledger_owners)
            .await?)
    }

    /// Gives it back; what cannot be given back is taken by the next run.
    pub(super) async fn give_back_lease(&self, run_id: &str) {
        if let Err(error) = lease::give_back(&self.prepared.aside, run_id).await {
            tracing::debug!(%error, "the lease was not given back");
        }
    }
}
