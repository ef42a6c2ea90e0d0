//! Runs and the journal of steps outside transactions.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::super::{DatabaseError, ServerClock, Session};
use super::LedgerError;

/// The databases whose names a run swapped. Only the store keeps this; the server has its own evidence
/// ([`KeptDatabase`](super::super::KeptDatabase)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwappedDatabases {
    /// The live name.
    pub live: String,
    /// OID of the database that has it since.
    pub live_oid: u32,
    /// Name under which the old one is kept; none when there was no old one.
    pub kept: Option<String>,
    /// OID of the old one.
    pub kept_oid: Option<u32>,
}

/// The directory of the files that a run was made from, and what git says of it. Only the store keeps this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The directory of the migrations, or of the wrapped command.
    pub directory: String,
    /// The commit; none outside of a repository.
    pub commit: Option<String>,
    /// The tree of that commit.
    pub tree: Option<String>,
    /// Whether files in the directory differ from the commit.
    pub modified: Option<bool>,
}

/// One apply, rollback or restore, as the ledger and `runs/<id>.json` in the store keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Id, made like a snapshot's.
    pub id: String,
    /// `apply`, `rollback` or `restore`, with its arguments.
    pub command: String,
    /// Who: the user of the operating system.
    pub actor: String,
    /// On which machine.
    pub host: String,
    /// Version of this program.
    pub version: String,
    /// Start, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End, UTC; none while it runs. Of a run that died: when the next one found that out.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// `done`, `failed`, `rolled back`, `interrupted`, `died` or `restored`; none while it runs, or until the next run finds it dead.
    pub outcome: Option<String>,
    /// Hash of the plan.
    pub plan_hash: Option<String>,
    /// Snapshot taken before.
    pub snapshot_id: Option<String>,
    /// Rehearsal that it trusts.
    pub rehearsal_id: Option<String>,
    /// Fingerprint record of the schema before.
    pub fingerprint_before: Option<serde_json::Value>,
    /// Fingerprint record of the schema after.
    pub fingerprint_after: Option<serde_json::Value>,
    /// Which safeguard was left out, and why.
    pub bypass: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// The databases that changed their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwappedDatabases>,
    /// What it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The clock that dates it while it runs.
    #[serde(skip)]
    pub clock: ServerClock,
}

impl RunRecord {
    /// Adds what was done without, each with its reason.
    pub fn add_bypass(&mut self, more: impl IntoIterator<Item = String>) {
        let all: Vec<String> = self.bypass.take().into_iter().chain(more).collect();
        self.bypass = (!all.is_empty()).then(|| all.join("; "));
    }

    /// Writes the row of a run that starts.
    pub async fn insert(&self, session: &Session) -> Result<(), DatabaseError> {
        session
            .execute(
                "INSERT INTO safe_migrate.run (id, command, actor, host, version, started_at, finished_at, outcome,
                     plan_hash, snapshot_id, rehearsal_id, fingerprint_before, fingerprint_after, bypass, error)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
                &[
                    &self.id,
                    &self.command,
                    &self.actor,
                    &self.host,
                    &self.version,
                    &self.started_at,
                    &self.finished_at,
                    &self.outcome,
                    &self.plan_hash,
                    &self.snapshot_id,
                    &self.rehearsal_id,
                    &self.fingerprint_before,
                    &self.fingerprint_after,
                    &self.bypass,
                    &self.error,
                ],
            )
            .await?;
        Ok(())
    }

    /// Closes the row of a run.
    pub async fn close(&self, session: &Session) -> Result<(), DatabaseError> {
        session
            .execute(
                "UPDATE safe_migrate.run SET finished_at = $2, outcome = $3, fingerprint_after = $4, error = $5
                  WHERE id = $1",
                &[&self.id, &self.finished_at, &self.outcome, &self.fingerprint_after, &self.error],
            )
            .await?;
        Ok(())
    }
}

/// How far a step outside a transaction got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Sent; whether it happened is not known.
    Started,
    /// It happened.
    Done,
    /// The server refused it.
    Failed,
    /// It happened, and so did the ledger row of its migration.
    Recorded,
}

impl StepState {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Recorded => "recorded",
        }
    }
}

/// One row of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// Run.
    pub run_id: String,
    /// App of the migration.
    pub app: String,
    /// Name of the migration.
    pub name: String,
    /// `up` or `down`.
    pub direction: String,
    /// Index of the statement in its section, from 0.
    pub statement: i32,
    /// How far it got.
    pub state: StepState,
    /// What going on with it needs, as JSON.
    pub place: Option<String>,
    /// Rows that its committed batches touched.
    pub rows_done: Option<i64>,
}

impl StepRecord {
    /// Writes or moves on the row of a step.
    pub async fn write(&self, session: &Session) -> Result<(), DatabaseError> {
        session
            .execute(
                "INSERT INTO safe_migrate.step
                     (run_id, app, name, direction, statement, state, place, rows_done, changed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, pg_catalog.clock_timestamp())
                 ON CONFLICT (run_id, app, name, direction, statement)
                 DO UPDATE SET state = excluded.state, place = excluded.place, rows_done = excluded.rows_done,
                               changed_at = excluded.changed_at",
                &[
                    &self.run_id,
                    &self.app,
                    &self.name,
                    &self.direction,
                    &self.statement,
                    &self.state.name(),
                    &self.place,
                    &self.rows_done,
                ],
            )
            .await?;
        Ok(())
    }
}

/// Reads the runs of a ledger of this version, oldest first.
pub(super) async fn read_all(session: &Session, version: i32) -> Result<Vec<RunRecord>, LedgerError> {
    let order = if version >= 3 { "number" } else { "started_at, id" };
    let sql = format!(
        "SELECT id, command, actor, host, version, started_at, finished_at, outcome, plan_hash, snapshot_id,
                    rehearsal_id, fingerprint_before, fingerprint_after, bypass, error
               FROM safe_migrate.run ORDER BY {order}"
    );
    let rows = session.query(&sql, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(RunRecord {
                id: row.try_get(0)?,
                command: row.try_get(1)?,
                actor: row.try_get(2)?,
                host: row.try_get(3)?,
                version: row.try_get(4)?,
                started_at: row.try_get(5)?,
                finished_at: row.try_get(6)?,
                outcome: row.try_get(7)?,
                plan_hash: row.try_get(8)?,
                snapshot_id: row.try_get(9)?,
                rehearsal_id: row.try_get(10)?,
                fingerprint_before: row.try_get(11)?,
                fingerprint_after: row.try_get(12)?,
                bypass: row.try_get(13)?,
                error: row.try_get(14)?,
                swap: None,
                origin: None,
                clock: ServerClock::default(),
            })
        })
        .collect()
}

pub(super) async fn read_steps(session: &Session) -> Result<Vec<StepRecord>, LedgerError> {
    let rows = session
        .query(
            // A ledger of an older version has no such columns, and who only reads does not upgrade it.
            "SELECT run_id, app, name, direction, statement, state, pg_catalog.to_jsonb(step) ->> 'place',
                    (pg_catalog.to_jsonb(step) ->> 'rows_done')::bigint
               FROM safe_migrate.step ORDER BY changed_at, statement",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(StepRecord {
                run_id: row.try_get(0)?,
                app: row.try_get(1)?,
                name: row.try_get(2)?,
                direction: row.try_get(3)?,
                statement: row.try_get(4)?,
                state: match row.try_get::<_, String>(5)?.as_str() {
                    "done" => StepState::Done,
                    "failed" => StepState::Failed,
                    "recorded" => StepState::Recorded,
                    _ => StepState::Started,
                },
                place: row.try_get(6)?,
                rows_done: row.try_get(7)?,
            })
        })
        .collect()
}
