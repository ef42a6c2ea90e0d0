//! Puts a proven database in the place of the live one.

use std::time::Duration;

use serde::Serialize;

use crate::postgres::database::{self, MarkedDatabase};
use crate::postgres::{MarkKind, RunLock, Session};

use super::super::{Confirmation, Error, Gate, Operator, Project, run_record};

/// What a swap did.
#[derive(Clone, Debug, Serialize)]
pub struct SwapReport {
    /// The name that now points at the restored database.
    pub live: String,
    /// The name under which the old one is kept; none when there was no old one.
    pub kept: Option<String>,
}

/// `restore --swap NAME`: a database that an earlier restore filled and proved.
pub async fn swap(project: &Project, name: &str, operator: &dyn Operator) -> Result<SwapReport, Error> {
    let server = project.connect().await?;
    let session = &server.maintenance;
    let Some(proven) = MarkedDatabase::find(session, name, MarkKind::Proven).await? else {
        return Err(Error::RestoreRefused(format!(
            "\"{name}\" is no database that a restore filled and proved, so it is not put in place of anything"
        )));
    };
    let Some((live, _)) = name.rsplit_once("_restored_") else {
        return Err(Error::RestoreRefused(format!("\"{name}\" does not say which database it belongs to")));
    };
    let _lock = RunLock::acquire(session, live, Duration::ZERO).await?;
    match operator.confirm(&format!("put \"{name}\" in the place of \"{live}\" (its sessions are ended)?")) {
        Confirmation::Yes => {}
        Confirmation::No => return Err(Gate::NotConfirmed.into()),
        Confirmation::CannotAsk => return Err(Gate::CannotAsk.into()),
    }
    let run = run_record::start(project, &format!("restore --swap {name}"));
    swap_proven(session, live, &proven, &run.id, operator).await
}

/// Swaps names, after naming what stands in the way.
pub(super) async fn swap_proven(
    session: &Session,
    live: &str,
    proven: &MarkedDatabase,
    run_id: &str,
    operator: &dyn Operator,
) -> Result<SwapReport, Error> {
    let obstacles = database::swap_obstacles(session, live).await?;
    if !obstacles.is_empty() {
        operator.warn(&format!("\"{}\" is filled and proven, and waits: safe-migrate restore --swap {0}", proven.name));
        return Err(Gate::SwapObstacles { database: live.to_owned(), obstacles }.into());
    }
    let had_old = database::exists(session, live).await?;
    let kept = kept_name(live, run_id);
    database::swap(session, live, proven, &kept).await?;
    Ok(SwapReport { live: live.to_owned(), kept: had_old.then_some(kept) })
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
