//! Drift: the schema is not the one that the last run left. The ledger keeps that one, so that the difference is readable.

use crate::postgres::{Ledger, RunRecord, Session, keep_session, ledger};
use crate::schema::{FingerprintRecord, Schema};

use super::super::schema_reading::{SchemaReading, read_as_seen};
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Error, Gate, Operator, Project, json};
use super::Run;

/// Lines of a difference that are shown.
const SHOWN: usize = 60;

/// Stops when the schema is not the one that the last run left.
///
/// Fingerprints of another algorithm or another pg_dump are not comparable, and that is not drift. Returns the reason
/// for which a drift was accepted, when there is one.
pub(in crate::workflow) async fn refuse_drift(
    project: &Project,
    session: &Session,
    ledger: &Ledger,
    now: &SchemaReading,
    accepted: Option<&str>,
    operator: &dyn Operator,
) -> Result<Option<String>, Error> {
    let Some(run) = ledger.last_with_fingerprint() else { return Ok(None) };
    let recorded =
        run.fingerprint_after.clone().and_then(|value| serde_json::from_value::<FingerprintRecord>(value).ok());
    let Some(recorded) = recorded else { return Ok(None) };
    if !recorded.is_comparable_with(&now.record)
        || recorded.hash == now.record.hash
        || crate::fault::is_off("off.drift")
    {
        return Ok(None);
    }
    if let Some(dead) = ledger.died_since(run) {
        operator.warn(&format!(
            "run {} ({}) died before it could record the schema; it is taken as it is now, without a check for drift",
            dead.id, dead.command
        ));
        return Ok(None);
    }
    let Some(difference) = readable(project, session, run, &recorded, now).await? else { return Ok(None) };
    if let Some(why) = accepted {
        let since = format!("the schema changed since run {} (drift), accepted: {why}", run.id);
        operator.warn(&format!("{since}\n{difference}"));
        return Ok(Some(why.to_owned()));
    }
    Err(Gate::Drift {
        database: project.target.database().to_owned(),
        since: format!("run {} ({})", run.id, run.command),
        difference,
    }
    .into())
}

/// The difference to the schema that the run left, or both hashes where that one is not kept. None: nothing differs but
/// what `[fingerprint] ignore` names by now.
async fn readable(
    project: &Project,
    session: &Session,
    run: &RunRecord,
    recorded: &FingerprintRecord,
    now: &SchemaReading,
) -> Result<Option<String>, Error> {
    let hashes = format!("  recorded {}, found {}", recorded.hash.short(), now.record.hash.short());
    let kept = ledger::kept_schema(session, &run.id).await?;
    let Some(kept) = kept.and_then(|text| serde_json::from_str::<Schema>(&text).ok()) else {
        return Ok(Some(hashes));
    };
    let kept = kept.ignoring(&project.fingerprint_ignore);
    let found = now.schema.withholding(OUTSIDE_LINKS);
    let difference = kept.difference(&found);
    if !difference.is_empty() {
        let shown = difference.render(SHOWN);
        return Ok(Some(format!("(- recorded, + found)\n{}", shown.trim_end())));
    }
    let withheld = kept.has_kinds(OUTSIDE_LINKS) || found.has_kinds(OUTSIDE_LINKS);
    Ok(withheld.then(|| format!("{hashes}; only in a subscription or user mapping, whose texts are not kept")))
}

impl SchemaReading {
    /// The schema as the ledger keeps it: without the texts that may hold a password.
    pub fn to_kept(&self) -> Result<String, Error> {
        Ok(json("the schema", &self.schema.withholding(OUTSIDE_LINKS))?.to_string())
    }
}

impl Run<'_> {
    /// Keeps the schema that this run leaves. On a new connection: the one that migrated may be gone.
    pub(super) async fn keep_schema(&self, record: &RunRecord, reading: &SchemaReading) {
        let kept = async {
            let session = self.project.target.connect("safe-migrate").await?;
            ledger::keep_schema(&session, &record.id, &reading.to_kept()?).await?;
            session.close().await;
            Ok::<(), Error>(())
        };
        self.tell_unkept(kept.await);
    }

    fn tell_unkept(&self, kept: Result<(), Error>) {
        if let Err(error) = kept {
            self.operator.warn(&format!("the schema is not kept, so a later drift shows only hashes: {error}"));
        }
    }

    /// Reads the schema as it is now, and keeps it, both on one new connection.
    pub(super) async fn read_and_keep(&self, record: &mut RunRecord) -> Result<SchemaReading, Error> {
        let (programs, target) = (&self.prepared.server.programs, &self.project.target);
        let session = target.connect("safe-migrate").await?;
        // It is idle while the dump is made.
        keep_session(&session).await?;
        let now = read_as_seen(programs, target, (&session, None), &self.project.fingerprint_ignore).await?;
        let kept = async { Ok(ledger::keep_schema(&session, &record.id, &now.to_kept()?).await?) };
        self.tell_unkept(kept.await);
        session.close().await;
        record.fingerprint_after = Some(json("the fingerprint", &now.record)?);
        Ok(now)
    }
}
