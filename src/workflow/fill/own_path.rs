//! What a restore does under the path of the database's own sessions: functions that call others by a name without a schema find
//! them there, and nowhere else.

use std::collections::BTreeSet;

use crate::postgres::deferred_checks::{self, NotValid};
use crate::postgres::{ArchiveEntry, DatabaseError, Session, archive_entries};

use super::super::Error;
use super::NotMade;

/// No such function, table, type or schema.
const UNDEFINED: &[&str] = &["42883", "42P01", "42704", "3F000"];

/// Whether a function did not find what it calls.
pub fn finds_nothing(error: &DatabaseError) -> bool {
    UNDEFINED.iter().any(|code| error.has_sqlstate(code))
}

/// Does work that loads or makes something, and once more under `path` where a function finds nothing; goes back to the path
/// of our sessions. The first attempt must leave nothing behind.
pub async fn there_if_need_be<T>(
    session: &Session,
    path: Option<&str>,
    work: impl AsyncFn() -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    match (work().await, path) {
        (Err(error), Some(path)) if finds_nothing(&error) => {
            session.batch_execute(&format!("SET search_path = {path}")).await?;
            let done = work().await;
            session.batch_execute("SET search_path = ''").await?;
            done
        }
        (done, _) => done,
    }
}

/// The entries behind the rows that are made one by one: those that were tried before and `left`, with functions in the
/// database the rows of materialized views, and what needs one of them.
pub(super) fn may_need(entries: &[ArchiveEntry], left: &BTreeSet<u32>, has_functions: bool) -> Vec<ArchiveEntry> {
    let mut chosen = BTreeSet::new();
    let mut found = Vec::new();
    for entry in entries {
        let is_chosen = left.contains(&entry.id)
            || (has_functions && entry.kind == "MATERIALIZED VIEW DATA")
            || entry.needs.iter().any(|id| chosen.contains(id));
        if is_chosen && !entry.sql.is_empty() {
            chosen.insert(entry.id);
            found.push(entry.clone());
        }
    }
    found
}

/// What became of the entries that were made one by one.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) not_made: Vec<NotMade>,
    /// Foreign keys whose rows are not all there.
    pub(super) not_valid: Vec<NotValid>,
}

/// There is one of that name already: what was begun before is gone on with.
const IS_THERE: &[&str] = &["42710", "42P07", "42P16", "42723"];

/// Makes them, each as `pg_restore` would, and under the path where that finds nothing. A materialized view whose function
/// reads another one, of which the archive does not know, comes after it: what fails is tried again as long as something else
/// does not. `again`: some of them may be there. `not_valid`: a foreign key that rows do not pass is made all the same.
pub(super) async fn make(
    session: &Session,
    entries: &[ArchiveEntry],
    path: Option<&str>,
    (again, not_valid): (bool, bool),
) -> Result<Made, Error> {
    let mut made = Made::default();
    let mut pending: Vec<&ArchiveEntry> = entries.iter().collect();
    loop {
        let mut failed = Vec::new();
        for entry in &pending {
            match there_if_need_be(session, path, async || archive_entries::make(session, entry).await).await {
                Ok(()) => {}
                Err(error) if session.is_closed() => return Err(error.into()),
                Err(error) if again && IS_THERE.iter().any(|code| error.has_sqlstate(code)) => {}
                Err(error) if not_valid && entry.kind == "FK CONSTRAINT" && error.has_sqlstate("23503") => {
                    match deferred_checks::add_foreign_key_not_valid(session, entry, &error).await {
                        Ok(one) => made.not_valid.push(one),
                        Err(error) => failed.push((*entry, error)),
                    }
                }
                Err(error) => failed.push((*entry, error)),
            }
        }
        if failed.len() == pending.len() || failed.is_empty() {
            let ids: BTreeSet<u32> = failed.iter().map(|(entry, _)| entry.id).collect();
            // Without what it is about, a comment is no loss of its own.
            failed.retain(|(entry, _)| !(entry.goes_along() && entry.needs.iter().any(|id| ids.contains(id))));
            made.not_made = failed.into_iter().map(|(entry, error)| NotMade::of(entry, &error)).collect();
            return Ok(made);
        }
        pending = failed.into_iter().map(|(entry, _)| entry).collect();
    }
}
