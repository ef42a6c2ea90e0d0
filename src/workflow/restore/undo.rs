//! `restore --undo RUN`: the old database takes its name back, and the one that replaced it is kept in turn.

use std::time::Duration;

use crate::postgres::swap as names;
use crate::postgres::{KeptDatabase, RunLock, ServerClock, Session, keep_session};

use super::super::{Error, Operator, Project, run_record};
use super::ask;
use super::swap::{Incoming, SwapReport, put_in_place, record};

/// Undoes the swap of a run. An undo is a swap with a run of its own, so it is undone in the same way.
pub async fn undo(project: &Project, run: &str, operator: &dyn Operator) -> Result<SwapReport, Error> {
    let session = project.maintenance_session().await?;
    keep_session(&session).await?;
    let kept = find(&session, run).await?;
    let _lock = RunLock::acquire(&session, &kept.live, Duration::ZERO).await?;
    check(&session, &kept).await?;
    refuse_newer_swap(&session, &kept).await?;
    ask(operator, &format!("put \"{}\" back in the place of \"{}\" (its sessions are ended)?", kept.name, kept.live))?;
    check(&session, &kept).await?;
    let mut undoing =
        run_record::start(project, &format!("restore --undo {}", kept.run), ServerClock::read(&session).await?).await;
    let incoming = Incoming { name: &kept.name, oid: kept.oid };
    let result = put_in_place(project, &session, &kept.live, incoming, &mut undoing, operator).await;
    record(project, &mut undoing, &result, operator).await;
    result
}

/// Whether this run put a database of this server aside, so that [`undo`] is the way back.
pub async fn knows(project: &Project, run: &str) -> Result<bool, Error> {
    let session = project.maintenance_session().await?;
    Ok(!run.is_empty() && KeptDatabase::all(&session).await?.iter().any(|kept| kept.run.starts_with(run)))
}

/// The old database that this run put aside, by the evidence in the catalog and never by a name.
pub(super) async fn find(session: &Session, run: &str) -> Result<KeptDatabase, Error> {
    let mut found: Vec<KeptDatabase> =
        KeptDatabase::all(session).await?.into_iter().filter(|kept| kept.run.starts_with(run)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(kept), true) if !run.is_empty() => Ok(kept),
        (Some(_), _) => Err(Error::RestoreRefused(format!("several runs begin with {run}; write more of the id"))),
        (None, _) => Err(Error::RestoreRefused(format!(
            "this server has no database that run {run} put aside: it swapped none, was undone, or the old one was dropped; what \
             a role that is no superuser put aside, that role puts back"
        ))),
    }
}

/// Fails when the old database was renamed, dropped or put to use since it was found.
pub(super) async fn check(session: &Session, kept: &KeptDatabase) -> Result<(), Error> {
    if kept.is_unchanged(session).await? {
        return Ok(());
    }
    Err(Error::RestoreRefused(format!("\"{}\" is not the database that it was a moment ago", kept.name)))
}

/// The name must still point at what the run put there, or at nothing.
async fn refuse_newer_swap(session: &Session, kept: &KeptDatabase) -> Result<(), Error> {
    let Some(now) = names::oid(session, &kept.live).await? else { return Ok(()) };
    if now == kept.successor {
        return Ok(());
    }
    let newer = KeptDatabase::all(session).await?.into_iter().find(|other| other.successor == now);
    let next = match newer {
        Some(newer) => format!("undo that first: safe-migrate restore --undo {}", newer.run),
        None => "rename it away first, if that is meant".to_owned(),
    };
    Err(Error::RestoreRefused(format!(
        "\"{}\" is not the database that run {} put in place; {next}",
        kept.live, kept.run
    )))
}
