//! What a restore does under the path of the database's own sessions: functions that call others by a name without a schema find
//! them there, and nowhere else.

use std::collections::BTreeSet;

use crate::postgres::{ArchiveEntry, DatabaseError, Session, archive_entries};

use super::super::Error;

/// No such function, table, type or schema.
const UNDEFINED: &[&str] = &["42883", "42P01", "42704", "3F000"];

/// Whether a function did not find what it calls.
pub(super) fn finds_nothing(error: &DatabaseError) -> bool {
    UNDEFINED.iter().any(|code| error.has_sqlstate(code))
}

/// Does work under this path, and goes back to that of our sessions.
pub(super) async fn within<T>(
    session: &Session,
    path: Option<&str>,
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let Some(path) = path else { return work.await };
    session.batch_execute(&format!("SET search_path = {path}")).await?;
    let done = work.await;
    session.batch_execute("SET search_path = ''").await?;
    done
}

/// The entries behind the rows that may need it: those of `lost`, the rows of materialized views, and what needs one of them.
pub(super) fn may_need(entries: &[ArchiveEntry], lost: &BTreeSet<u32>) -> Vec<ArchiveEntry> {
    let mut chosen = BTreeSet::new();
    let mut found = Vec::new();
    for entry in entries {
        let is_chosen = lost.contains(&entry.id)
            || entry.kind == "MATERIALIZED VIEW DATA"
            || entry.needs.iter().any(|id| chosen.contains(id));
        if is_chosen && !entry.sql.is_empty() {
            chosen.insert(entry.id);
            found.push(entry.clone());
        }
    }
    found
}

/// Makes them, each as `pg_restore` would, and under the path where that finds nothing. A materialized view whose function
/// reads another one, of which the archive does not know, comes after it: what fails is tried again as long as something else
/// does not.
pub(super) async fn make(session: &Session, entries: &[ArchiveEntry], path: Option<&str>) -> Result<(), Error> {
    let mut pending: Vec<&ArchiveEntry> = entries.iter().collect();
    loop {
        let (mut failed, mut first) = (Vec::new(), None);
        for entry in &pending {
            let made = match archive_entries::make(session, entry).await {
                Err(error) if finds_nothing(&error) => {
                    within(session, path, archive_entries::make(session, entry)).await
                }
                made => made,
            };
            if let Err(error) = made {
                first.get_or_insert_with(|| format!("{} {}: {error}", entry.kind, entry.name));
                failed.push(*entry);
            }
        }
        match first {
            None => return Ok(()),
            Some(why) if failed.len() == pending.len() => return Err(Error::RestoreRefused(why)),
            Some(_) => pending = failed,
        }
    }
}
