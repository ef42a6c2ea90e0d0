//! Where the time of a rehearsal goes.

use std::time::Instant;

use crate::report::rehearsal::Phase;

/// Notes how long each phase took, from the end of the one before.
#[derive(Debug)]
pub struct Stopwatch {
    last: Instant,
    /// The phases that ended.
    pub phases: Vec<Phase>,
}

impl Stopwatch {
    /// Begins the first phase.
    pub fn start() -> Self {
        Self { last: Instant::now(), phases: Vec::new() }
    }

    /// Ends a phase and begins the next.
    pub fn phase(&mut self, name: &str) {
        let now = Instant::now();
        let milliseconds = now.duration_since(self.last).as_secs_f64() * 1000.0;
        self.phases.push(Phase { name: name.to_owned(), milliseconds });
        self.last = now;
    }
}
