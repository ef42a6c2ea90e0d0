//! Leases: which run holds the lock, by name. The advisory lock decides; a lease says whose it is, and after a run that
//! died, whose it was.

use time::OffsetDateTime;

use super::super::{DatabaseError, Session};
use super::run::RunRecord;
use super::{LedgerError, ours};

/// One row of `safe_migrate.lease`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: String,
    /// Its command.
    pub command: String,
    /// Who.
    pub actor: String,
    /// On which machine.
    pub host: String,
    /// When it was taken, by the server's clock.
    pub taken_at: OffsetDateTime,
}

impl std::fmt::Display for Lease {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.taken_at.replace_nanosecond(0).unwrap_or(self.taken_at);
        let Self { run_id, command, actor, host, .. } = self;
        write!(formatter, "run {run_id} ({command}) by {actor} on {host}, since {since}")
    }
}

/// The leases that there are: one while a run lives, and those that dead runs left. None in a ledger older than leases.
pub async fn read(session: &Session) -> Result<Vec<Lease>, DatabaseError> {
    if !is_kept(session).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT run_id, command, actor, host, taken_at FROM safe_migrate.lease ORDER BY taken_at";
    let rows = session.query(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Lease {
                run_id: row.try_get(0)?,
                command: row.try_get(1)?,
                actor: row.try_get(2)?,
                host: row.try_get(3)?,
                taken_at: row.try_get(4)?,
            })
        })
        .collect()
}

/// Takes the lease for a run that holds the lock, in place of those that dead runs left. Nothing where there is no
/// ledger yet.
pub async fn take(session: &Session, run: &RunRecord, backend: i32, owners: &[String]) -> Result<(), LedgerError> {
    if !is_kept(session).await? {
        return Ok(());
    }
    ours::check(session, owners).await?;
    session
        .execute(
            "WITH dead AS (DELETE FROM safe_migrate.lease WHERE run_id <> $1)
             INSERT INTO safe_migrate.lease (run_id, command, actor, host, backend) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (run_id) DO NOTHING",
            &[&run.id, &run.command, &run.actor, &run.host, &backend],
        )
        .await?;
    crate::fault::point("lease.taken");
    Ok(())
}

/// Gives the lease of a run back.
pub async fn give_back(session: &Session, run_id: &str) -> Result<(), DatabaseError> {
    if is_kept(session).await? {
        session.execute("DELETE FROM safe_migrate.lease WHERE run_id = $1", &[&run_id]).await?;
        crate::fault::point("lease.given-back");
    }
    Ok(())
}

/// Takes all leases away: in a restored database they are of the time of the snapshot.
pub(super) async fn forget_all(session: &Session) -> Result<(), DatabaseError> {
    if is_kept(session).await? {
        session.batch_execute("DELETE FROM safe_migrate.lease").await?;
    }
    Ok(())
}

async fn is_kept(session: &Session) -> Result<bool, DatabaseError> {
    Ok(session.query_one("SELECT pg_catalog.to_regclass('safe_migrate.lease') IS NOT NULL", &[]).await?.try_get(0)?)
}
