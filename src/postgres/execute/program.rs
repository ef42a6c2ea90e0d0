//! A section that is a program: journaled before and after, because nothing tells what it did when we die in between.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use super::super::DatabaseError;
use super::super::ledger::StepState;
use super::journal::Place;
use super::outside::Outside;
use super::{ExecuteError, StatementTrace};
use crate::migration::{Program, Statement};

/// How a program did not go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramFailure {
    /// The operator asked to stop, and it ended.
    Interrupted,
    /// It was not started.
    NotRun(String),
    /// It failed.
    Failed(String),
}

/// Runs a program with the address of one database in its environment.
pub trait ProgramRunner: Debug + Send + Sync {
    /// Runs it to its end.
    fn run<'a>(&'a self, program: &'a Program)
    -> Pin<Box<dyn Future<Output = Result<(), ProgramFailure>> + Send + 'a>>;
}

impl Outside<'_> {
    pub(super) async fn program(
        &self,
        index: usize,
        statement: &Statement,
        program: &Program,
    ) -> Result<StatementTrace, ExecuteError> {
        let place = Place::before(self.section, statement);
        let failed = |why: &str| ExecuteError::Program {
            file: self.file(),
            line: statement.line,
            program: program.display(),
            why: why.to_owned(),
        };
        let Some(runner) = self.context.programs else { return Err(failed("nothing that runs programs")) };
        self.journal().write(index, StepState::Started, &place, None).await?;
        crate::fault::point("step.started");
        if let Some(tracer) = self.context.tracer {
            tracer.before(self.session).await?;
        }
        let start = std::time::Instant::now();
        let ended = runner.run(program).await;
        let duration = start.elapsed();
        crate::fault::point("step.ran");
        // It may have changed anything by now, whatever becomes of our own notes of it.
        let not_noted = |error: DatabaseError| {
            let left = "its program ended, and that could not be noted".to_owned();
            self.failed(index, statement, error.into(), true, Some(left))
        };
        if let Some(tracer) = self.context.tracer {
            tracer.after(self.session, statement).await.map_err(not_noted)?;
        }
        match ended {
            Ok(()) => {
                self.journal().write(index, StepState::Done, &place, None).await.map_err(not_noted)?;
                Ok(StatementTrace {
                    line: statement.line,
                    text: statement.text.clone(),
                    duration,
                    rows: 0,
                    batches: None,
                })
            }
            Err(failure) => {
                // It may run again: what it did before it failed is its own matter.
                if !self.session.is_closed() {
                    self.journal().write(index, StepState::Failed, &place, None).await.map_err(not_noted)?;
                }
                Err(match failure {
                    ProgramFailure::Interrupted => self.stopped_at(index, statement, true),
                    ProgramFailure::Failed(why) => failed(&why),
                    ProgramFailure::NotRun(why) => ExecuteError::ProgramNotRun {
                        file: self.file(),
                        line: statement.line,
                        program: program.display(),
                        why,
                    },
                })
            }
        }
    }
}
