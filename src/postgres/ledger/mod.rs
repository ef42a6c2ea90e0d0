//! The ledger: schema `safe_migrate` in the target database, where production's own record is kept.
//!
//! Made by the first run that writes, upgraded by numbered versions of its own, never by a command that only reads.

mod kept_schema;
pub mod lease;
pub mod ours;
mod recovery;
mod run;

use time::OffsetDateTime;

use super::{DatabaseError, Session};
use crate::migration::{AppliedMigration, MigrationId};

pub use kept_schema::{keep_schema, kept_schema};
pub use recovery::{RecoveryRecord, recoveries, runs_with_saved_tables};
pub use run::{Origin, RunRecord, StepRecord, StepState, SwappedDatabases};

/// The ledger's version that this program writes.
const VERSION: i32 = 3;

const CREATE: &str = "
    CREATE SCHEMA safe_migrate;
    COMMENT ON SCHEMA safe_migrate IS 'The ledger of safe-migrate: what is applied, by which run. Do not edit by hand.';
    CREATE TABLE safe_migrate.version (version int PRIMARY KEY, upgraded_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE safe_migrate.run (
        id text PRIMARY KEY, command text NOT NULL, actor text NOT NULL, host text NOT NULL, version text NOT NULL,
        started_at timestamptz NOT NULL, finished_at timestamptz, outcome text, plan_hash text, snapshot_id text,
        rehearsal_id text, fingerprint_before jsonb, fingerprint_after jsonb, bypass text, error text);
    CREATE TABLE safe_migrate.migration (
        app text NOT NULL, name text NOT NULL, checksum text NOT NULL, text text NOT NULL,
        applied_at timestamptz NOT NULL, run_id text NOT NULL,
        how text NOT NULL CHECK (how IN ('apply', 'fake', 'squash', 'import')), PRIMARY KEY (app, name));
    CREATE TABLE safe_migrate.step (
        run_id text NOT NULL, app text NOT NULL, name text NOT NULL, direction text NOT NULL, statement int NOT NULL,
        state text NOT NULL CHECK (state IN ('started', 'done', 'failed', 'recorded')),
        changed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (run_id, app, name, direction, statement));
    INSERT INTO safe_migrate.version (version) VALUES (1);";

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A newer program wrote it.
    #[error("the ledger of this database has version {found}; this program knows versions up to {VERSION}")]
    Newer {
        /// Version in the database.
        found: i32,
    },
    /// Somebody else made it, or put something into it that would run when a row is written.
    #[error("the schema safe_migrate of this database is not safe-migrate's own: {}", found.join("; "))]
    NotOurs {
        /// What is strange in it.
        found: Vec<String>,
    },
    /// A migration name in it is not one.
    #[error("the ledger holds a migration named \"{0}\", which is no migration name")]
    Name(String),
    /// The server refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What the ledger says, read in one statement each.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Whether there is one.
    pub present: bool,
    /// Applied migrations in the order in which they were applied.
    pub applied: Vec<AppliedMigration>,
    /// Runs, oldest first.
    pub runs: Vec<RunRecord>,
    /// Steps outside transactions that a run started, oldest first.
    pub steps: Vec<StepRecord>,
}

impl Ledger {
    /// Reads the ledger; a database without one has an empty one.
    pub async fn read(session: &Session) -> Result<Self, LedgerError> {
        let present: bool = session
            .query_one("SELECT pg_catalog.to_regclass('safe_migrate.version') IS NOT NULL", &[])
            .await?
            .try_get(0)?;
        if !present {
            return Ok(Self::default());
        }
        let found: i32 = session.query_one("SELECT max(version) FROM safe_migrate.version", &[]).await?.try_get(0)?;
        if found > VERSION {
            return Err(LedgerError::Newer { found });
        }
        Ok(Self {
            present,
            applied: applied(session).await?,
            runs: run::read_all(session, found).await?,
            steps: run::read_steps(session).await?,
        })
    }

    /// The run whose schema is the last one that the ledger knows.
    pub fn last_with_fingerprint(&self) -> Option<&RunRecord> {
        self.runs.iter().rev().find(|run| run.fingerprint_after.is_some())
    }

    /// A run that died after this one and may have changed the schema: what it left was never recorded.
    ///
    /// A dead rollback has taken its rows away, so it is taken at its word.
    pub fn died_since(&self, known: &RunRecord) -> Option<&RunRecord> {
        let later = self.runs.iter().rev().take_while(|run| run.id != known.id);
        let mut dead = later.filter(|run| run.fingerprint_after.is_none());
        dead.find(|run| {
            run.command.starts_with("rollback")
                || self.applied.iter().any(|one| one.run_id == run.id)
                || self.steps.iter().any(|one| one.run_id == run.id)
        })
    }

    /// What a run that never ended left, in words.
    pub fn left_by(&self, run: &RunRecord) -> String {
        let applied: Vec<String> =
            self.applied.iter().filter(|one| one.run_id == run.id).map(|one| one.id.to_string()).collect();
        let middle = self.steps.iter().rfind(|one| one.run_id == run.id && one.state != StepState::Recorded);
        let mut words = match applied.as_slice() {
            [] => "the ledger holds nothing that it applied".to_owned(),
            applied => format!("the ledger holds what it had applied: {}", applied.join(", ")),
        };
        if let Some(step) = middle {
            let (app, name, at) = (&step.app, &step.name, step.statement + 1);
            words.push_str(&format!("; it stopped in {app}/{name}, statement {at}, outside a transaction"));
        }
        words
    }

    /// Migrations that stopped in the middle, outside a transaction, each with the run that began it: their journal says so,
    /// whatever became of the file.
    pub fn half_done(&self) -> Vec<HalfDone> {
        let mut found: Vec<HalfDone> = Vec::new();
        for step in self.steps.iter().filter(|one| matches!(one.state, StepState::Started | StepState::Done)) {
            let Ok(id) = format!("{}/{}", step.app, step.name).parse::<MigrationId>() else { continue };
            // A row of the ledger says that it went through.
            if step.direction == "up" && self.applied.iter().any(|one| one.id == id) {
                continue;
            }
            let statements = usize::try_from(step.statement).unwrap_or_default() + 1;
            match found.iter_mut().find(|one| one.id == id) {
                Some(one) => one.statements = one.statements.max(statements),
                None => {
                    let (run_id, back) = (step.run_id.clone(), step.direction == "down");
                    found.push(HalfDone { id, run_id, statements, back });
                }
            }
        }
        found
    }

    /// Runs that never ended.
    pub fn unfinished(&self) -> impl Iterator<Item = &RunRecord> {
        self.runs.iter().filter(|run| run.outcome.is_none())
    }
}

/// A migration that stopped in the middle, outside a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfDone {
    /// It.
    pub id: MigrationId,
    /// The run that began it.
    pub run_id: String,
    /// Up to this statement, counted from 1.
    pub statements: usize,
    /// Whether it was being rolled back.
    pub back: bool,
}

async fn applied(session: &Session) -> Result<Vec<AppliedMigration>, LedgerError> {
    let rows = session
        .query(
            "SELECT app, name, checksum, text, applied_at, run_id, how FROM safe_migrate.migration
              ORDER BY applied_at, app, name",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let name = format!("{}/{}", row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
            let id: MigrationId = name.parse().map_err(|_| LedgerError::Name(name.clone()))?;
            Ok(AppliedMigration {
                id,
                checksum: row.try_get(2)?,
                text: row.try_get(3)?,
                applied_at: row.try_get::<_, OffsetDateTime>(4)?,
                run_id: row.try_get(5)?,
                how: row.try_get(6)?,
            })
        })
        .collect()
}

/// What each version after the first adds, the second version first.
const UPGRADES: &[&str] = &[recovery::UPGRADE, THIRD];

/// Who runs now, the schema that the last run left (for a readable drift), and where a batched statement stands.
const THIRD: &str = "
    CREATE TABLE safe_migrate.lease (
        run_id text PRIMARY KEY, command text NOT NULL, actor text NOT NULL, host text NOT NULL, backend int NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp());
    CREATE TABLE safe_migrate.schema (run_id text PRIMARY KEY, text text NOT NULL);
    -- The order of runs: their clocks may differ.
    ALTER TABLE safe_migrate.run ADD COLUMN number bigint;
    UPDATE safe_migrate.run r SET number = o.number
      FROM (SELECT id, pg_catalog.row_number() OVER (ORDER BY started_at, id) AS number FROM safe_migrate.run) o WHERE o.id = r.id;
    ALTER TABLE safe_migrate.run ALTER COLUMN number SET NOT NULL;
    ALTER TABLE safe_migrate.run ALTER COLUMN number ADD GENERATED BY DEFAULT AS IDENTITY;
    SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence('safe_migrate.run', 'number'),
                             coalesce(max(number), 0) + 1, false) FROM safe_migrate.run;
    ALTER TABLE safe_migrate.step ADD COLUMN place text, ADD COLUMN rows_done bigint;
    INSERT INTO safe_migrate.version (version) VALUES (3);";

/// Makes the ledger when there is none, and brings an older one to this program's version, each version in a
/// transaction of its own. It may belong to `owners` besides those who are trusted anyway.
pub async fn ensure(session: &Session, owners: &[String]) -> Result<(), LedgerError> {
    let present: bool = session
        .query_one("SELECT pg_catalog.to_regclass('safe_migrate.version') IS NOT NULL", &[])
        .await?
        .try_get(0)?;
    // Also of a schema without our tables: CREATE would fail and not say why.
    ours::check(session, owners).await?;
    if !present {
        session.batch_execute(&format!("BEGIN;{CREATE}COMMIT")).await?;
    }
    let found: i32 = session.query_one("SELECT max(version) FROM safe_migrate.version", &[]).await?.try_get(0)?;
    if found > VERSION {
        return Err(LedgerError::Newer { found });
    }
    for upgrade in UPGRADES.iter().skip(usize::try_from(found - 1).unwrap_or_default()) {
        session.batch_execute(&format!("BEGIN;{upgrade}COMMIT")).await?;
    }
    Ok(())
}

/// Closes the runs that never ended as `died`; the caller holds the lock, so none of them can still be alive.
pub async fn close_dead(session: &Session) -> Result<(), LedgerError> {
    session
        .execute(
            "UPDATE safe_migrate.run SET outcome = 'died', finished_at = pg_catalog.now() WHERE outcome IS NULL",
            &[],
        )
        .await?;
    Ok(())
}

/// How a migration came to be applied, as the ledger's column `how` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was run.
    Apply,
    /// What it makes was there already.
    Fake,
    /// It was taken over from another tool, or from the database as it is.
    Import,
}

impl How {
    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            How::Apply => "apply",
            How::Fake => "fake",
            How::Import => "import",
        }
    }
}

/// The row of a migration that this transaction applies.
pub async fn record_applied(
    session: &Session,
    (run_id, how): (&str, How),
    (id, checksum, text): (&MigrationId, &str, &str),
) -> Result<(), DatabaseError> {
    session
        .execute(
            "INSERT INTO safe_migrate.migration (app, name, checksum, text, applied_at, run_id, how)
             VALUES ($1, $2, $3, $4, pg_catalog.clock_timestamp(), $5, $6)",
            &[&id.app, &id.name, &checksum, &text, &run_id, &how.word()],
        )
        .await?;
    Ok(())
}

/// The row of a squash that a database counts as applied, dated as the last of what it replaces.
pub async fn record_squash(session: &Session, row: &AppliedMigration) -> Result<(), DatabaseError> {
    session
        .execute(
            "INSERT INTO safe_migrate.migration (app, name, checksum, text, applied_at, run_id, how)
             VALUES ($1, $2, $3, $4, $5, $6, 'squash')",
            &[&row.id.app, &row.id.name, &row.checksum, &row.text, &row.applied_at, &row.run_id],
        )
        .await?;
    Ok(())
}

/// Gives the row of an applied migration another text that was proven to build the same (`repair`). An absent row is an
/// error: the ledger changed under us.
pub async fn record_repaired(
    session: &Session,
    (id, checksum, text): (&MigrationId, &str, &str),
) -> Result<bool, DatabaseError> {
    let updated = session
        .execute(
            "UPDATE safe_migrate.migration SET checksum = $3, text = $4 WHERE app = $1 AND name = $2",
            &[&id.app, &id.name, &checksum, &text],
        )
        .await?;
    Ok(updated == 1)
}

/// Takes away the row of a migration that this transaction rolls back, and those of what it replaces. No row at all is an
/// error: the ledger changed under us.
pub async fn record_rolled_back(
    session: &Session,
    id: &MigrationId,
    replaces: &[MigrationId],
) -> Result<bool, DatabaseError> {
    let names: Vec<String> = [id].into_iter().chain(replaces).map(ToString::to_string).collect();
    let deleted =
        session.execute("DELETE FROM safe_migrate.migration WHERE app || '/' || name = ANY ($1)", &[&names]).await?;
    Ok(deleted > 0)
}

/// What is applied, without the texts: migration, checksum and run, sorted by migration. Cheap enough to be asked before
/// each migration.
pub async fn applied_now(session: &Session) -> Result<Vec<(MigrationId, String, String)>, LedgerError> {
    let rows = session.query("SELECT app, name, checksum, run_id FROM safe_migrate.migration", &[]).await?;
    let mut applied = Vec::with_capacity(rows.len());
    for row in &rows {
        let name = format!("{}/{}", row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let id: MigrationId = name.parse().map_err(|_| LedgerError::Name(name.clone()))?;
        applied.push((id, row.try_get(2)?, row.try_get(3)?));
    }
    applied.sort();
    Ok(applied)
}

/// Marks the journal of a migration as settled, in the transaction that writes its ledger row.
pub async fn close_journal(session: &Session, id: &MigrationId) -> Result<(), DatabaseError> {
    session
        .execute(
            "UPDATE safe_migrate.step SET state = 'recorded' WHERE app = $1 AND name = $2 AND state <> 'recorded'",
            &[&id.app, &id.name],
        )
        .await?;
    Ok(())
}

/// Brings the ledger of a restored database up to date: runs that were under way when the snapshot was taken end as
/// `restored`, and the restore is recorded. A database without a ledger keeps none, and one that is not ours is not written.
pub async fn close_restored(session: &Session, owners: &[String], run: &RunRecord) -> Result<(), LedgerError> {
    if is_present(session).await? {
        ours::check(session, owners).await?;
        session
            .execute(
                "UPDATE safe_migrate.run SET outcome = 'restored', finished_at = pg_catalog.now() WHERE outcome IS NULL",
                &[],
            )
            .await?;
        lease::forget_all(session).await?;
        run.insert(session).await?;
    }
    Ok(())
}

/// Records a run that changed no schema. A database without a ledger keeps none, and one that is not ours is not written.
pub async fn record(session: &Session, owners: &[String], run: &RunRecord) -> Result<(), LedgerError> {
    if is_present(session).await? {
        ours::check(session, owners).await?;
        run.insert(session).await?;
    }
    Ok(())
}

async fn is_present(session: &Session) -> Result<bool, DatabaseError> {
    Ok(session.query_one("SELECT pg_catalog.to_regclass('safe_migrate.version') IS NOT NULL", &[]).await?.try_get(0)?)
}
