//! The journal of a section outside transactions: what is written before and after each statement, and where a later run
//! goes on.

use serde::{Deserialize, Serialize};

use super::super::connection::SET_OURS_LOCALLY;
use super::super::ledger::{StepRecord, StepState};
use super::super::{DatabaseError, Session};
use super::ExecuteError;
use crate::migration::{Checksum, Direction, PlanStep, Section, Statement};

/// What going on with a statement needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// SHA-256 of the statement, with the key of its batches.
    pub(super) sha256: String,
    /// The last value of the key that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    /// The last value of the key that is to be done, fixed when the first batch began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// Batches that are done.
    #[serde(default)]
    pub(super) batches: u64,
    /// Indexes that were invalid before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) invalid: Vec<String>,
    /// Indexes that the table had before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) indexes: Vec<String>,
}

impl Place {
    /// The place before a statement.
    pub(super) fn before(section: &Section, statement: &Statement) -> Place {
        let key = section.batch.as_ref().filter(|_| statement.is_batched());
        let text = key.map_or_else(|| statement.text.clone(), |batch| format!("{}\n{}", batch.key, statement.text));
        Place { sha256: Checksum::of(&text).to_string(), ..Place::default() }
    }
}

/// Writes the journal of one step of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journal<'a> {
    pub(super) session: &'a Session,
    pub(super) step: &'a PlanStep,
    pub(super) run_id: &'a str,
}

impl Journal<'_> {
    /// Writes a row in the transaction that runs. The role and the search path that the migration has set come back at its
    /// end.
    pub(super) async fn add(
        &self,
        index: usize,
        state: StepState,
        place: &Place,
        rows: Option<i64>,
    ) -> Result<(), DatabaseError> {
        let ours = format!("SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE; {SET_OURS_LOCALLY}");
        self.session.batch_execute(&ours).await?;
        StepRecord {
            run_id: self.run_id.to_owned(),
            app: self.step.migration.id.app.clone(),
            name: self.step.migration.id.name.clone(),
            direction: direction_name(self.step.direction).to_owned(),
            statement: i32::try_from(index).unwrap_or(i32::MAX),
            state,
            // A struct of texts, numbers and lists always becomes JSON.
            place: serde_json::to_string(place).ok(),
            rows_done: rows,
        }
        .write(self.session)
        .await
    }

    /// Writes a row in a transaction of its own.
    pub(super) async fn write(
        &self,
        index: usize,
        state: StepState,
        place: &Place,
        rows: Option<i64>,
    ) -> Result<(), DatabaseError> {
        self.session.batch_execute("BEGIN").await?;
        let written = self.add(index, state, place, rows).await;
        let end = if written.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.session.batch_execute(end).await;
        written?;
        Ok(ended?)
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Apply => "up",
        Direction::Rollback => "down",
    }
}

/// What the journal says of the statement at which a section goes on.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Its index.
    pub(super) index: usize,
    /// How far it got; none: it was not begun.
    pub(super) state: Option<StepState>,
    /// Where it stood.
    pub(super) place: Option<Place>,
    /// Rows of its batches.
    pub(super) rows: i64,
}

/// Where earlier runs of a section stopped; none: nothing of it was begun.
///
/// What is done must be what the file still says: a statement that was corrected may only be one that was not begun, or
/// that the server refused.
pub(super) fn stopped(
    step: &PlanStep,
    section: &Section,
    journal: &[StepRecord],
) -> Result<Option<Stopped>, ExecuteError> {
    let id = &step.migration.id;
    let mine = |row: &&StepRecord| {
        row.app == id.app
            && row.name == id.name
            && row.direction == direction_name(step.direction)
            && row.state != StepState::Recorded
    };
    // Oldest first: the last row of a statement is the one that counts.
    let rows: Vec<&StepRecord> = journal.iter().filter(mine).collect();
    let row_of = |index: usize| rows.iter().rev().find(|row| usize::try_from(row.statement) == Ok(index));
    let Some(last) = rows.iter().filter_map(|row| usize::try_from(row.statement).ok()).max() else { return Ok(None) };
    let place_of = |row: &StepRecord| -> Option<Place> { serde_json::from_str(row.place.as_deref()?).ok() };
    let changed = |index: usize| {
        let line = section.statements.get(index).or(section.statements.last()).map_or(1, |statement| statement.line);
        ExecuteError::Changed { file: step.migration.path.display().to_string(), line, number: index + 1 }
    };
    for index in 0..=last {
        let row = row_of(index);
        let place = row.and_then(|row| place_of(row));
        let state = row.map(|row| row.state);
        // Nothing of it is committed, so its text may change.
        let open = index == last
            && state == Some(StepState::Failed)
            && place.as_ref().is_none_or(|place| place.after.is_none());
        let same = match (section.statements.get(index), &place) {
            (Some(statement), Some(place)) => Place::before(section, statement).sha256 == place.sha256,
            // Written by an older version, which kept no hash.
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !(same || open) {
            return Err(changed(index));
        }
    }
    let row = row_of(last);
    let state = row.map(|row| row.state);
    if state == Some(StepState::Done) {
        return Ok(Some(Stopped { index: last + 1, state: None, place: None, rows: 0 }));
    }
    let rows = row.and_then(|row| row.rows_done).unwrap_or_default();
    Ok(Some(Stopped { index: last, state, place: row.and_then(|row| place_of(row)), rows }))
}
