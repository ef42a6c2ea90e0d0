//! The closed fence of a run that died: lifted by the next command, whichever it is.

use crate::postgres::fence::{ClosedFence, FenceRecord};
use crate::postgres::{LockError, RunLock};

use super::{Error, Operator, Project};

/// Opens the target again when a run that is dead by now closed it; false when nobody of ours did.
///
/// Dead is a run whose locks nobody holds, the one of the maintenance database and the one of the session that
/// migrates. While they are held, the error is that of a second run: [`LockError::Held`].
pub async fn lift_dead_fence(project: &Project, operator: &dyn Operator) -> Result<bool, Error> {
    let session = project.maintenance_session().await?;
    let target = project.target.database();
    if FenceRecord::read(&session, target).await?.is_none() {
        return Ok(false);
    }
    let lock = RunLock::acquire(&session, target, std::time::Duration::ZERO).await?;
    if !lock.target_is_free(&session, target).await? {
        let holder = ": the session that migrates".to_owned();
        return Err(LockError::Held { database: target.to_owned(), holder }.into());
    }
    // Read again under the lock: the run may have ended meanwhile, and lifted it.
    let Some(record) = FenceRecord::read(&session, target).await? else { return Ok(true) };
    let run = record.run.clone();
    if ClosedFence::left_by(target, record).lift(&session).await? {
        operator.warn(&format!(
            "run {run} died while \"{target}\" was closed by its fence; it is open again, and `safe-migrate history` \
             says what the run had done"
        ));
    }
    // The lock goes with the session, before the command takes its own.
    session.close().await;
    Ok(true)
}
