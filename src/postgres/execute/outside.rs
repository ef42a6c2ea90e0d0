//! A migration outside a transaction: statement by statement, each journaled before and after, and gone on with later.

use super::super::concurrent_index::{concurrent_index, drop_own_invalid_index, index_is_done, invalid_indexes};
use super::super::ledger::{self, StepRecord, StepState};
use super::super::{DatabaseError, Session};
use super::{ExecuteError, RunContext, StatementTrace, limits, record, run_statement};
use crate::migration::{Direction, PlanStep, Section};

/// Runs the statements that are left, and records the migration.
pub(super) async fn run_outside(
    session: &Session,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
) -> Result<Vec<StatementTrace>, ExecuteError> {
    if let Some(tracer) = context.tracer {
        tracer.begin(session, section).await?;
    }
    session.batch_execute(&limits("SET", &step.migration, context.options)).await.map_err(DatabaseError::from)?;
    let mut trace = Vec::with_capacity(section.statements.len());
    let first = resume_at(session, step, section, context.journal).await?;
    for (index, statement) in section.statements.iter().enumerate().skip(first) {
        journal(session, step, context.run_id, index, StepState::Started).await?;
        let invalid_before = invalid_indexes(session).await?;
        match run_statement(session, &step.migration, statement, context).await {
            Ok(one) => trace.push(one),
            Err(ExecuteError::Statement { file, line, source }) => {
                if !source.is_connection_lost() && !session.is_closed() {
                    drop_own_invalid_index(session, statement, &invalid_before).await?;
                    journal(session, step, context.run_id, index, StepState::Failed).await?;
                }
                return Err(ExecuteError::Step { file, line, done: index, source });
            }
            Err(error) => return Err(error),
        }
        journal(session, step, context.run_id, index, StepState::Done).await?;
    }
    session.batch_execute("BEGIN; RESET SESSION AUTHORIZATION; RESET ROLE").await.map_err(DatabaseError::from)?;
    record(session, step, context.run_id).await?;
    ledger::close_journal(session, &step.migration.id).await?;
    session.batch_execute("COMMIT").await.map_err(DatabaseError::from)?;
    if let Some(tracer) = context.tracer {
        tracer.committed(session).await?;
    }
    Ok(trace)
}

async fn journal(
    session: &Session,
    step: &PlanStep,
    run_id: &str,
    index: usize,
    state: StepState,
) -> Result<(), DatabaseError> {
    StepRecord {
        run_id: run_id.to_owned(),
        app: step.migration.id.app.clone(),
        name: step.migration.id.name.clone(),
        direction: direction_name(step.direction).to_owned(),
        statement: i32::try_from(index).unwrap_or(i32::MAX),
        state,
    }
    .write(session)
    .await
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Apply => "up",
        Direction::Rollback => "down",
    }
}

/// The statement at which a section goes on: after those that the last unfinished run of it did.
async fn resume_at(
    session: &Session,
    step: &PlanStep,
    section: &Section,
    journal: &[StepRecord],
) -> Result<usize, ExecuteError> {
    let id = &step.migration.id;
    let Some(last) = journal.iter().rev().find(|row| row.app == id.app && row.name == id.name) else { return Ok(0) };
    if last.direction != direction_name(step.direction) {
        return Ok(0);
    }
    let index = usize::try_from(last.statement).unwrap_or_default();
    match last.state {
        StepState::Recorded => Ok(0),
        StepState::Done => Ok(index + 1),
        StepState::Failed => Ok(index),
        StepState::Started => {
            let Some(statement) = section.statements.get(index) else { return Ok(0) };
            if concurrent_index(statement).is_none_or(|index| index.name.is_none()) {
                return Err(ExecuteError::Unclear {
                    file: step.migration.path.display().to_string(),
                    line: statement.line,
                });
            }
            Ok(if index_is_done(session, statement).await? { index + 1 } else { index })
        }
    }
}
