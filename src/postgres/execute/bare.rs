//! Statements that the server refuses in a transaction: what became of one that was begun, and what it left.

use super::super::concurrent_index::{drop_abandoned, index_on, indexes_of, invalid_indexes, is_valid, left_by};
use super::super::{DatabaseError, MigratingSession};
use super::journal::Place;
use super::{ExecuteOptions, Kind, backoff};
use crate::migration::Statement;

/// What became of a statement that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It took effect.
    Done,
    /// It did not, and what it left is gone: it can run.
    Again,
    /// Nothing tells.
    Unclear,
}

/// What is noted before a bare statement, to tell later what it made.
pub(super) async fn note(session: &MigratingSession, kind: &Kind, place: &mut Place) -> Result<(), DatabaseError> {
    place.invalid = invalid_indexes(session).await?;
    if let Kind::CreateIndex { table, .. } = kind {
        place.indexes = indexes_of(session, table).await?;
    }
    Ok(())
}

/// Looks what became of a statement that was begun by a run that died, and clears away what a half of it left.
pub(super) async fn became(
    session: &MigratingSession,
    kind: &Kind,
    place: &Place,
    options: &ExecuteOptions,
) -> Result<Became, DatabaseError> {
    let again = |done: bool| if done { Became::Done } else { Became::Again };
    match kind {
        Kind::CreateIndex { name, table, unless_there } => {
            clear(session, kind, place, options).await?;
            match name {
                Some(name) => {
                    let index = index_on(session, table, name).await?;
                    Ok(again(index.is_some_and(|index| *unless_there || !place.indexes.contains(&index))))
                }
                None => {
                    let now = indexes_of(session, table).await?;
                    Ok(match now.iter().filter(|index| !place.indexes.contains(index)).count() {
                        0 => Became::Again,
                        1 => Became::Done,
                        _ => Became::Unclear,
                    })
                }
            }
        }
        Kind::DropIndex { name } => Ok(again(is_valid(session, name).await?.is_none())),
        Kind::Reindex { .. } => {
            clear(session, kind, place, options).await?;
            Ok(Became::Again)
        }
        Kind::Detach { parent, child } => Ok(again(detached(session, parent, child).await?)),
        Kind::Repeatable => Ok(Became::Again),
        Kind::Other => Ok(Became::Unclear),
    }
}

/// Clears away what a statement left that the server refused in the middle. True: it has taken effect all the same, because
/// the rest of it was done here.
pub(super) async fn clear(
    session: &MigratingSession,
    kind: &Kind,
    place: &Place,
    options: &ExecuteOptions,
) -> Result<bool, DatabaseError> {
    if let Kind::Detach { parent, child } = kind {
        return if is_pending(session, parent, child).await? == Some(true) {
            detached(session, parent, child).await
        } else {
            Ok(false)
        };
    }
    // What a DROP has begun can only be ended, by the same statement.
    if matches!(kind, Kind::DropIndex { .. }) {
        return Ok(false);
    }
    for index in left_by(session, kind, &place.invalid).await? {
        let mut attempt = 0;
        while let Err(error) = drop_abandoned(session, &index).await {
            if !(error.is_lock_timeout() || error.is_deadlock()) || attempt >= options.retries {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(backoff(attempt)).await;
        }
    }
    Ok(false)
}

/// What is still there of a statement that failed, in words; empty: nothing.
pub(super) async fn leftovers(
    session: &MigratingSession,
    kind: &Kind,
    place: &Place,
) -> Result<Vec<String>, DatabaseError> {
    let mut left: Vec<String> = left_by(session, kind, &place.invalid).await?;
    left.iter_mut().for_each(|index| *index = format!("index {index} is invalid now"));
    if let Kind::Detach { parent, child } = kind
        && is_pending(session, parent, child).await? == Some(true)
    {
        left.push(format!(
            "partition {child} is half detached; ALTER TABLE {parent} DETACH PARTITION {child} FINALIZE ends it"
        ));
    }
    Ok(left)
}

/// Whether a partition is half detached; none: it is no partition of that table (any more).
async fn is_pending(session: &MigratingSession, parent: &str, child: &str) -> Result<Option<bool>, DatabaseError> {
    let (child, parent) = (session.relation(child).await?, session.relation(parent).await?);
    let sql = "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhrelid = $1 AND inhparent = $2";
    Ok(session.query_opt(sql, &[&child, &parent]).await?.map(|row| row.get(0)))
}

/// Whether a partition is detached, after the rest of it is done where it was half done. Names come from the statement
/// itself, as they are written there.
async fn detached(session: &MigratingSession, parent: &str, child: &str) -> Result<bool, DatabaseError> {
    match is_pending(session, parent, child).await? {
        None => Ok(true),
        Some(false) => Ok(false),
        Some(true) => {
            session.set_theirs().await?;
            let ended = session.batch_execute(&format!("ALTER TABLE {parent} DETACH PARTITION {child} FINALIZE")).await;
            session.set_ours().await?;
            ended?;
            Ok(true)
        }
    }
}

/// Whether a statement only sets something for the session, which a new session needs again.
pub(super) fn is_setting(statement: &Statement) -> bool {
    let tokens = statement.tokens();
    let word = |index: usize| tokens.get(index).map(|token| token.to_ascii_uppercase()).unwrap_or_default();
    matches!(word(0).as_str(), "SET" | "RESET") && !matches!(word(1).as_str(), "LOCAL" | "TRANSACTION" | "CONSTRAINTS")
}
