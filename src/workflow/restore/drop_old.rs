//! `restore --drop-old RUN`: the one command that destroys a database, so it asks for its name.

use std::time::Duration;

use serde::Serialize;

use crate::postgres::swap as names;
use crate::postgres::{KeptDatabase, RunLock, ServerClock, Session, database, keep_session};
use crate::report::format_bytes;

use super::super::{Confirmation, Error, Gate, Operator, Project, run_record};
use super::swap::refuse;
use super::undo::{check, find};

/// What was dropped.
#[derive(Clone, Debug, Serialize)]
pub struct DropReport {
    /// Name of the database.
    pub dropped: String,
    /// Its OID.
    pub oid: u32,
    /// Its bytes on disk, where they were known.
    pub bytes: Option<u64>,
    /// The live database that had replaced it.
    pub live: String,
}

/// Drops the old database that a run put aside. `name` is what a script gave for the name that a person types.
pub async fn drop_old(
    project: &Project,
    run: &str,
    name: Option<&str>,
    operator: &dyn Operator,
) -> Result<DropReport, Error> {
    let session = project.maintenance_session().await?;
    keep_session(&session).await?;
    let kept = find(&session, run).await?;
    let _lock = RunLock::acquire(&session, &kept.live, Duration::ZERO).await?;
    check(&session, &kept).await?;
    refuse_last_one(&session, &kept).await?;
    refuse(&kept.name, names::obstacles(&session, &kept.name).await?)?;
    let bytes = database::size(&session, &kept.name).await?;
    confirm(&kept, bytes, name, operator)?;
    let mut record =
        run_record::start(project, &format!("restore --drop-old {}", kept.run), ServerClock::read(&session).await?)
            .await;
    database::drop_kept(&session, &kept).await?;
    run_record::finish(&mut record, "done", None);
    run_record::keep_if_possible(project, &record, operator).await;
    Ok(DropReport { dropped: kept.name, oid: kept.oid, bytes, live: kept.live })
}

/// While nothing has the live name, the old database is the only one.
async fn refuse_last_one(session: &Session, kept: &KeptDatabase) -> Result<(), Error> {
    match names::oid(session, &kept.live).await? {
        Some(oid) if oid != kept.oid => Ok(()),
        _ => Err(Error::RestoreRefused(format!(
            "there is no other database \"{}\": \"{}\" is the last one; to put it back: safe-migrate restore --undo {}",
            kept.live, kept.name, kept.run
        ))),
    }
}

fn confirm(kept: &KeptDatabase, bytes: Option<u64>, name: Option<&str>, operator: &dyn Operator) -> Result<(), Error> {
    if name == Some(kept.name.as_str()) {
        return Ok(());
    }
    let size = bytes.map(|bytes| format!(" ({})", format_bytes(bytes))).unwrap_or_default();
    let question = format!("Drop database \"{}\"{size}, which run {} put aside? ", kept.name, kept.run);
    match name {
        Some(_) => Err(Gate::NameNotTyped(kept.name.clone()).into()),
        None => match operator.confirm_name(question.trim_end(), &kept.name) {
            Confirmation::Yes => Ok(()),
            Confirmation::No | Confirmation::CannotAsk => Err(Gate::NameNotTyped(kept.name.clone()).into()),
        },
    }
}
