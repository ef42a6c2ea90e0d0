//! `snapshot list`: what the store holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Outcome, table};
use crate::report::{format_ago, format_bytes, format_count, format_time};
use crate::snapshot::{self, SnapshotId, SnapshotState, SnapshotSummary};
use crate::store::{Store, StoreError};
use crate::workflow::restore::{refused, refused_last};
use crate::workflow::retention::{Pin, pins, proven, withheld};
use crate::workflow::{Error, Operator};

use super::REFUSED;

/// List the snapshots of this source, newest first
///
/// A partial snapshot is never listed; a damaged one is, as such. Those of runs that
/// changed nothing come last.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot list
  safe-migrate snapshot list --all-sources --json")]
pub(crate) struct Args {
    /// Also those of other sources
    #[arg(long)]
    pub(crate) all_sources: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let found = context.unless_interrupted(async {
        let store = match Store::open(&project.store).await {
            // The default place is made by the first snapshot; a place that was named is a mistake when it is not there.
            Err(StoreError::NotAStore { .. }) if context.config.store.url.is_none() => return Ok(Default::default()),
            result => result.map_err(Error::from)?,
        };
        let found = refused_last(&store, snapshot::list(&store).await.map_err(Error::from)?).await;
        let refused = refused(&store, &found).await;
        for gap in withheld(&store, &found).await? {
            context.operator.warn(&gap.to_string());
        }
        let known = Known { refused, proven: proven(&store, &found).await?, pins: pins(&store).await? };
        Ok((found, known))
    });
    let (mut found, known) = found.await?;
    // Whose a damaged one is cannot be read, so it is named always.
    found.retain(|one| args.all_sources || one.said_source().is_none_or(|source| source == project.source));
    let value = json!({ "source": project.source, "snapshots": found.iter().map(|one| value(one, &known)).collect::<Vec<_>>() });
    let text = match (found.is_empty(), args.all_sources) {
        (false, _) => listed(&found, &known, args.all_sources, OffsetDateTime::now_utc()),
        (true, true) => "no snapshots\n".to_owned(),
        (true, false) => format!("no snapshots of source \"{}\"\n", project.source),
    };
    Ok(Outcome::new(text, value))
}

/// What is known of snapshots besides their manifests.
#[derive(Default)]
struct Known {
    refused: BTreeSet<SnapshotId>,
    proven: BTreeSet<SnapshotId>,
    pins: BTreeMap<SnapshotId, Pin>,
}

impl Known {
    /// `proven`, `signed by`, `pinned`, in a word or two.
    fn marks(&self, one: &SnapshotSummary) -> String {
        let id = &one.id;
        let by = one.details().and_then(|details| details.signed_by.as_ref());
        let signed = by.map(|by| format!("signed by {}", by.name));
        let proven = self.proven.contains(id).then(|| "proven".to_owned());
        let pinned = self.pins.get(id).map(|pin| format!("pinned: {}", pin.why));
        proven.into_iter().chain(signed).chain(pinned).collect::<Vec<_>>().join(", ")
    }
}

fn listed(found: &[SnapshotSummary], known: &Known, with_source: bool, now: OffsetDateTime) -> String {
    let columns = |one: &SnapshotSummary| columns(one, known, now);
    if !with_source {
        return table(["SNAPSHOT", "TAKEN", "AGE", "WHY", "ROWS", "SIZE", ""], found.iter().map(columns));
    }
    let rows = found.iter().map(|one| {
        let [id, taken, age, why, rows, size, marks] = columns(one);
        let source = one.said_source().unwrap_or_default().to_owned();
        [id, source, taken, age, why, rows, size, marks]
    });
    table(["SNAPSHOT", "SOURCE", "TAKEN", "AGE", "WHY", "ROWS", "SIZE", ""], rows)
}

fn columns(one: &SnapshotSummary, known: &Known, now: OffsetDateTime) -> [String; 7] {
    let id = one.id.to_string();
    match &one.state {
        SnapshotState::Complete(details) => [
            id,
            format_time(details.started_at),
            format_ago(details.started_at, now),
            match details.reason.run {
                Some(_) if known.refused.contains(&one.id) => format!("before {}{REFUSED}", details.reason.command),
                Some(_) => format!("before {}", details.reason.command),
                None => details.reason.command.clone(),
            },
            format_count(details.rows),
            format_bytes(details.raw_bytes),
            known.marks(one),
        ],
        SnapshotState::Untrusted { details, doubt } => [
            id,
            format_time(details.started_at),
            format_ago(details.started_at, now),
            format!("NOT BELIEVED: {doubt}"),
            format_count(details.rows),
            format_bytes(details.raw_bytes),
            known.marks(one),
        ],
        SnapshotState::Damaged { reason } => {
            let none = String::new;
            [id, none(), none(), format!("DAMAGED: {reason}"), none(), none(), known.marks(one)]
        }
    }
}

fn value(one: &SnapshotSummary, known: &Known) -> Value {
    match &one.state {
        SnapshotState::Complete(details) => json!({
            "id": one.id,
            "state": "complete",
            "source": details.source,
            "database": details.database,
            "started_at": format_time(details.started_at),
            "finished_at": format_time(details.finished_at),
            "reason": details.reason,
            "refused": known.refused.contains(&one.id),
            "proven": known.proven.contains(&one.id),
            "pinned": known.pins.get(&one.id).map(|pin| &pin.why),
            "rows": details.rows,
            "raw_bytes": details.raw_bytes,
            "stored_bytes": details.stored_bytes,
            "signed_by": details.signed_by.as_ref().map(|by| json!({
                "name": by.name, "key": by.statement.key, "sequence": by.statement.sequence
            })),
        }),
        SnapshotState::Untrusted { details, doubt } => json!({
            "id": one.id, "state": "untrusted", "source": details.source, "doubt": doubt.to_string()
        }),
        SnapshotState::Damaged { reason } => json!({ "id": one.id, "state": "damaged", "damage": reason }),
    }
}
