//! The person at the terminal, as the workflows see them: told of progress, and asked before a change.

/// What the amount of a long task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes; shown with a rate and the time left.
    Bytes,
    /// Things such as tables, statements or chunks.
    Items,
}

/// What the operator answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Go on (typed, or `--yes`).
    Yes,
    /// The operator said no.
    No,
    /// There is no terminal to ask on and no `--yes`.
    CannotAsk,
}

/// The seam between the workflows, which never print, and the command line, which does.
pub trait Operator: Send + Sync {
    /// Says what happens now, in one line.
    fn step(&self, message: &str);
    /// Starts a task whose length may be known (`total` in `unit`s).
    fn begin(&self, task: &str, total: Option<u64>, unit: Unit);
    /// Moves the running task on by `amount`.
    fn advance(&self, amount: u64);
    /// Ends the running task with what it came to.
    fn finish(&self, summary: &str);
    /// Says what the operator should know although the run goes on.
    fn warn(&self, message: &str);
    /// Whether a question will be answered, by a person or by `--yes`.
    fn can_confirm(&self) -> bool;
    /// Asks before a change; `--yes` answers.
    fn confirm(&self, question: &str) -> Confirmation;
    /// Asks a person, whatever `--yes` says; without a terminal it cannot.
    fn confirm_typed(&self, question: &str) -> Confirmation;
    /// Asks a person to type this name, whatever `--yes` says; without a terminal it cannot.
    fn confirm_name(&self, question: &str, name: &str) -> Confirmation;
    /// Asks a person for a line; none where there is no terminal, at the end of input, or when interrupted.
    fn ask_text(&self, question: &str) -> Option<String> {
        let _ = question;
        None
    }
}
