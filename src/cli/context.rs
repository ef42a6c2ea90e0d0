//! What every command gets: configuration, environment, the operator, and the interrupt.

use std::path::PathBuf;

use super::arguments::GlobalArguments;
use super::config::Config;
use super::environment::Environment;
use super::error::CliError;
use super::interrupt::Interrupt;
use super::operator::TerminalOperator;

/// The surroundings of one command.
#[derive(Debug)]
pub(crate) struct Context {
    /// The options of every command, as typed.
    pub(crate) flags: GlobalArguments,
    /// The merged configuration.
    pub(crate) config: Config,
    /// The process environment.
    pub(crate) environment: Environment,
    /// The directory the program was started in.
    pub(crate) directory: PathBuf,
    /// Progress and questions.
    pub(crate) operator: TerminalOperator,
    /// Whether the operator wants to stop.
    pub(crate) interrupt: Interrupt,
}

impl Context {
    /// Runs a task that may be dropped at any point: one that never changes production.
    ///
    /// A task that does must look at [`Context::interrupt`] between its steps instead.
    pub(crate) async fn unless_interrupted<T>(
        &self,
        task: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        tokio::select! {
            biased;
            () = self.interrupt.wait() => Err(CliError::interrupted()),
            result = Box::pin(task) => result,
        }
    }
}
