//! Puts a proven database in the place of the live one.

use std::time::Duration;

use serde::Serialize;

use crate::postgres::database::{self, MarkedDatabase};
use crate::postgres::swap::{self as names, Swap};
use crate::postgres::{
    MarkKind, ReplaceError, RunLock, RunRecord, ServerClock, Session, SwappedDatabases, keep_session, ledger,
};

use super::super::{Error, Gate, Operator, Project, run_record};
use super::ask;

/// What a swap did.
#[derive(Clone, Debug, Serialize)]
pub struct SwapReport {
    /// The run, by which it is undone.
    pub run: String,
    /// The name that now points at the other database.
    pub live: String,
    /// OID of that database.
    pub live_oid: u32,
    /// The name under which the old one is kept; none when there was no old one.
    pub kept: Option<String>,
    /// OID of the old one.
    pub kept_oid: Option<u32>,
}

/// The database that is to become the live one, of which it is known that it may.
pub(super) struct Incoming<'a> {
    pub(super) name: &'a str,
    pub(super) oid: u32,
}

/// `restore --swap NAME`: a database that an earlier restore filled and proved.
pub async fn swap(project: &Project, name: &str, operator: &dyn Operator) -> Result<SwapReport, Error> {
    let session = project.maintenance_session().await?;
    keep_session(&session).await?;
    let connected = project.target.database();
    let Some(live) = &database::live_name_of(&session, name, connected).await? else {
        return Err(not_proven(name));
    };
    let _lock = RunLock::acquire(&session, live, Duration::ZERO).await?;
    let Some(proven) = MarkedDatabase::find(&session, name, MarkKind::Proven).await? else {
        return Err(not_proven(name));
    };
    ask(operator, &format!("put \"{name}\" in the place of \"{live}\" (its sessions are ended)?"))?;
    let mut run =
        run_record::start(project, &format!("restore --swap {name}"), ServerClock::read(&session).await?).await;
    let result = swap_proven(project, &session, live, &proven, &mut run, operator).await;
    record(project, &mut run, &result, operator).await;
    result
}

fn not_proven(name: &str) -> Error {
    Error::RestoreRefused(format!(
        "\"{name}\" is no database that a restore filled and proved, so it is not put in place of anything"
    ))
}

/// Swaps in a database that was just proven, or that waits since an earlier restore.
pub(super) async fn swap_proven(
    project: &Project,
    session: &Session,
    live: &str,
    proven: &MarkedDatabase,
    run: &mut RunRecord,
    operator: &dyn Operator,
) -> Result<SwapReport, Error> {
    proven.check(session).await?;
    let incoming = Incoming { name: &proven.name, oid: proven.oid() };
    put_in_place(project, session, live, incoming, run, operator).await
}

/// Swaps names, after naming what stands in the way. The caller holds the lock and knows what comes in.
pub(super) async fn put_in_place(
    project: &Project,
    session: &Session,
    live: &str,
    incoming: Incoming<'_>,
    run: &mut RunRecord,
    operator: &dyn Operator,
) -> Result<SwapReport, Error> {
    refuse_own_database(session, live).await?;
    let mut obstacles = names::obstacles(session, live).await?;
    obstacles.extend(names::obstacles(session, incoming.name).await?);
    refuse(live, obstacles)?;
    for standby in names::standbys(session).await? {
        operator.warn(&format!("sessions on standby {standby} go on reading the old database; end them there"));
    }
    let (live_oid, kept) = (names::oid(session, live).await?, kept_name(live, &run.id));
    run.swap = Some(SwappedDatabases {
        live: live.to_owned(),
        live_oid: incoming.oid,
        kept: live_oid.is_some().then(|| kept.clone()),
        kept_oid: live_oid,
    });
    // Before the names change, so that the store knows them whatever happens then.
    let intended = RunRecord { outcome: None, finished_at: None, ..run.clone() };
    run_record::keep_if_possible(project, &intended, operator).await;
    let ender = project.maintenance_session().await?;
    let swap = Swap { live, live_oid, incoming: incoming.name, incoming_oid: incoming.oid, kept: &kept, run: &run.id };
    if let Err(error) = swap.run(session, &ender).await
        && !happened_all_the_same(project, &swap, session.backend_pid(), &error).await?
    {
        run.swap = None;
        refuse(live, names::obstacles(session, live).await.unwrap_or_default())?;
        return Err(error.into());
    }
    Ok(SwapReport {
        run: run.id.clone(),
        live: live.to_owned(),
        live_oid: incoming.oid,
        kept: live_oid.is_some().then_some(kept),
        kept_oid: live_oid,
    })
}

/// A connection that is lost at the commit says nothing: the server is asked.
async fn happened_all_the_same(
    project: &Project,
    swap: &Swap<'_>,
    backend: i32,
    error: &ReplaceError,
) -> Result<bool, Error> {
    if !matches!(error, ReplaceError::Database(error) if error.is_connection_lost()) {
        return Ok(false);
    }
    let asked = async { Ok(swap.is_done(&project.maintenance_session().await?, backend).await?) };
    asked.await.map_err(|source: Error| Error::RunStopped {
        production: format!("either the old or the new \"{}\": the connection was lost during the swap", swap.live),
        changed: true,
        hint: "when the server is back, run `safe-migrate history`, and the swap again if it did not happen".to_owned(),
        source: Box::new(source),
    })
}

pub(super) fn refuse(database: &str, obstacles: Vec<String>) -> Result<(), Error> {
    if obstacles.is_empty() {
        return Ok(());
    }
    Err(Gate::SwapObstacles { database: database.to_owned(), obstacles }.into())
}

/// PostgreSQL renames no database that the session is connected to.
pub(super) async fn refuse_own_database(session: &Session, live: &str) -> Result<(), Error> {
    if database::current(session).await? != live {
        return Ok(());
    }
    Err(Error::RestoreRefused(format!(
        "\"{live}\" is the maintenance database too, and a session cannot rename its own database; name another one \
         in [database] maintenance, such as template1"
    )))
}

/// Closes the record of a run that only swaps names, in the store and in the ledger that is live now.
pub(super) async fn record(
    project: &Project,
    run: &mut RunRecord,
    result: &Result<SwapReport, Error>,
    operator: &dyn Operator,
) {
    match result {
        Ok(_) => run_record::finish(run, "done", None),
        Err(error) => run_record::finish(run, "failed", Some(error)),
    }
    if let Ok(report) = result
        && let Err(error) = record_in_ledger(project, &report.live, run).await
    {
        operator.warn(&format!("run {} is not recorded in the ledger of \"{}\": {error}", run.id, report.live));
    }
    run_record::keep_if_possible(project, run, operator).await;
}

async fn record_in_ledger(project: &Project, live: &str, run: &RunRecord) -> Result<(), Error> {
    let session = project.database(live).connect("safe-migrate restore").await?;
    ledger::record(&session, &project.ledger_owners, run).await?;
    session.close().await;
    Ok(())
}

/// An id as a part of a database's name that needs no quotes.
pub(super) fn in_a_name(id: &str) -> String {
    id.to_lowercase().replace('-', "_")
}

/// `<live>_before_<run>`, the live name cut so that it fits into 63 bytes.
fn kept_name(live: &str, run_id: &str) -> String {
    let tail = format!("_before_{}", in_a_name(run_id));
    let mut room = 63 - tail.len();
    while !live.is_char_boundary(room.min(live.len())) {
        room -= 1;
    }
    format!("{}{tail}", &live[..room.min(live.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_name_fits() {
        assert_eq!(kept_name("shop", "20261122T135823Z-7f3a9c"), "shop_before_20261122t135823z_7f3a9c");
        let long = "é".repeat(31);
        assert!(kept_name(&long, "20261122T135823Z-7f3a9c").len() <= 63);
    }
}
