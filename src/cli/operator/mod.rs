//! The operator at the terminal: progress and questions on stderr, answers from stdin.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::interrupt::Interrupt;
use crate::report::{format_bytes, format_duration, redact, shown, shown_behind_a_label};
use crate::workflow::{Confirmation, Operator, Unit};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Moving bars, on a terminal.
    Bars,
    /// A line at the beginning, at the end, and now and then in between.
    Lines,
    /// Nothing.
    Hidden,
}

/// How the operator is spoken to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// How progress is shown.
    pub(crate) progress: Progress,
    /// `--yes`: every question is answered with yes.
    pub(crate) assume_yes: bool,
    /// There is a terminal to ask on, and no `--no-input`.
    pub(crate) can_ask: bool,
    /// Colour on stderr.
    pub(crate) color: bool,
}

/// Between two lines about the same task, where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The operator of this process.
pub(crate) struct TerminalOperator {
    manners: Manners,
    interrupt: Interrupt,
    between_lines: Duration,
    running: Mutex<Option<Task>>,
    sink: Mutex<Box<dyn Write + Send>>,
}

/// The task whose progress is shown.
struct Task {
    name: String,
    total: Option<u64>,
    unit: Unit,
    done: u64,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl TerminalOperator {
    /// Speaks on stderr.
    pub(crate) fn new(manners: Manners, interrupt: Interrupt) -> Self {
        TerminalOperator::writing_to(Box::new(io::stderr()), manners, interrupt)
    }

    /// Speaks into `sink`.
    pub(crate) fn writing_to(sink: Box<dyn Write + Send>, manners: Manners, interrupt: Interrupt) -> Self {
        TerminalOperator {
            manners,
            interrupt,
            between_lines: BETWEEN_LINES,
            running: Mutex::new(None),
            sink: Mutex::new(sink),
        }
    }

    /// Whether a question can be put to somebody.
    pub(crate) fn can_ask(&self) -> bool {
        self.manners.can_ask && !self.manners.assume_yes
    }

    /// Asks for one line; `None` at the end of input or when interrupted. Ask only when [`Self::can_ask`].
    pub(crate) fn ask(&self, prompt: &str) -> Option<String> {
        self.end_task();
        self.write(&shown(&redact(prompt)));
        let answer = blocking(|| self.read_line());
        if answer.is_none() {
            self.write("\n");
        }
        answer
    }

    /// Reads on a thread of its own: a read from a terminal cannot be cancelled, waiting for it can.
    fn read_line(&self) -> Option<String> {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line);
            // The receiver is gone after an interrupt; then nobody waits for the line.
            let _unwanted = sender.send(read.is_ok_and(|bytes| bytes > 0).then_some(line));
        });
        loop {
            match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => return line.map(|line| line.trim().to_string()),
                Err(RecvTimeoutError::Timeout) if !self.interrupt.raised() => {}
                Err(_) => return None,
            }
        }
    }

    fn line(&self, label: &str, text: &str) {
        let text = format!("{label}{}\n", shown_behind_a_label(&redact(text)));
        match self.task().as_ref().and_then(|task| task.bar.as_ref()) {
            Some(bar) => bar.suspend(|| self.write(&text)),
            None => self.write(&text),
        }
    }

    fn write(&self, text: &str) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // When stderr is gone there is nobody left to tell; the run itself goes on.
        let _unreachable_reader = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
    }

    fn task(&self) -> MutexGuard<'_, Option<Task>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_task(&self) -> Option<Task> {
        let task = self.task().take();
        if let Some(bar) = task.as_ref().and_then(|task| task.bar.as_ref()) {
            bar.finish_and_clear();
        }
        task
    }
}

impl Operator for TerminalOperator {
    fn step(&self, message: &str) {
        if self.manners.progress != Progress::Hidden {
            self.line("", message);
        }
    }

    fn begin(&self, task: &str, total: Option<u64>, unit: Unit) {
        self.end_task();
        let bar = (self.manners.progress == Progress::Bars).then(|| bar(task, total, unit));
        if self.manners.progress == Progress::Lines {
            let size = total.map(|total| format!(" ({})", amount(total, unit))).unwrap_or_default();
            self.line("", &format!("{task}{size}"));
        }
        let now = Instant::now();
        let name = task.to_string();
        *self.task() = Some(Task { name, total, unit, done: 0, started: now, last_line: now, bar });
    }

    fn advance(&self, amount: u64) {
        let line = self.task().as_mut().and_then(|task| {
            task.done = task.done.saturating_add(amount);
            if let Some(bar) = &task.bar {
                bar.inc(amount);
            }
            let due = self.manners.progress == Progress::Lines && task.last_line.elapsed() >= self.between_lines;
            due.then(|| {
                task.last_line = Instant::now();
                progress_line(task, task.started.elapsed())
            })
        });
        if let Some(line) = line {
            self.line("", &line);
        }
    }

    fn finish(&self, summary: &str) {
        self.end_task();
        self.step(summary);
    }

    fn warn(&self, message: &str) {
        let label = if self.manners.color { "\x1b[1;33mwarning:\x1b[0m " } else { "warning: " };
        self.line(label, message);
    }

    fn can_confirm(&self) -> bool {
        self.manners.can_ask || self.manners.assume_yes
    }

    fn confirm(&self, question: &str) -> Confirmation {
        if self.manners.assume_yes {
            self.step(&format!("{question} yes (--yes)"));
            return Confirmation::Yes;
        }
        self.confirm_typed(question)
    }

    fn confirm_typed(&self, question: &str) -> Confirmation {
        if !self.manners.can_ask {
            return Confirmation::CannotAsk;
        }
        match self.ask(&format!("{question} [y/N] ")) {
            Some(answer) if matches!(answer.to_lowercase().as_str(), "y" | "yes") => Confirmation::Yes,
            _ => Confirmation::No,
        }
    }

    fn ask_text(&self, question: &str) -> Option<String> {
        if self.can_ask() { self.ask(question) } else { None }
    }

    fn confirm_name(&self, question: &str, name: &str) -> Confirmation {
        if !self.manners.can_ask {
            return Confirmation::CannotAsk;
        }
        match self.ask(&format!("{question} Type its name: ")) {
            Some(answer) if answer == name => Confirmation::Yes,
            _ => Confirmation::No,
        }
    }
}

impl fmt::Debug for TerminalOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalOperator").field("manners", &self.manners).finish_non_exhaustive()
    }
}

/// Runs what blocks without holding up the other tasks of this thread.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn template(total: Option<u64>, unit: Unit) -> &'static str {
    match (total, unit) {
        (Some(_), Unit::Bytes) => {
            "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left"
        }
        (Some(_), Unit::Items) => "{msg} {wide_bar} {pos}/{len} {eta} left",
        (None, Unit::Bytes) => "{spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec} {elapsed}",
        (None, Unit::Items) => "{spinner} {msg} {pos} {elapsed}",
    }
}

fn bar(task: &str, total: Option<u64>, unit: Unit) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    // A template that cannot be read would leave indicatif's own; a test reads all of them.
    if let Ok(style) = ProgressStyle::with_template(template(total, unit)) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(task.to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// How far a task is: `copying rows: 500 MB of 1.5 GB (33 %), 50.0 MB/s, 20.0 s left`.
fn progress_line(task: &Task, elapsed: Duration) -> String {
    let mut line = format!("{}: {}", task.name, amount(task.done, task.unit));
    // What was estimated by the disk may be compressed there.
    let share =
        task.total.filter(|total| *total > 0 && task.done <= *total).map(|total| task.done as f64 / total as f64);
    if let (Some(total), Some(share)) = (task.total, share) {
        line += &format!(" of {} ({:.0} %)", amount(total, task.unit), (share * 100.0).min(100.0).floor());
    }
    if task.unit == Unit::Bytes && !elapsed.is_zero() {
        line += &format!(", {}/s", format_bytes((task.done as f64 / elapsed.as_secs_f64()) as u64));
    }
    if let Some(share) = share.filter(|share| *share > 0.0 && *share < 1.0) {
        let left = Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 / share - 1.0));
        line += &left.map(|left| format!(", {} left", format_duration(left))).unwrap_or_default();
    }
    line
}

fn amount(amount: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format_bytes(amount),
        Unit::Items => amount.to_string(),
    }
}

#[cfg(test)]
mod tests;
