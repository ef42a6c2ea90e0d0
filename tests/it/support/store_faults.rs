//! What goes wrong between a client and its S3 server.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub enum StoreFault {
    /// The connection is closed without an answer, and nothing is done.
    Away,
    /// The answer comes late.
    Slow(Duration),
    /// This HTTP status with this S3 error code, and nothing is done.
    Status(u16, &'static str),
    /// The request is carried out, and its answer is lost.
    LoseAnswer,
}

/// Which requests meet which fault; the test changes it while the server runs.
#[derive(Debug, Default)]
pub struct StoreFaults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: u32,
    fault: Option<(Range<u32>, u32, StoreFault)>,
}

impl StoreFaults {
    /// From now on, of the requests with these numbers (from 0), every `every`th meets the fault.
    pub fn set(&self, requests: Range<u32>, every: u32, fault: StoreFault) {
        *self.state.lock().unwrap() = State { requests: 0, fault: Some((requests, every, fault)) };
    }

    /// No faults any more; how many requests there were since the last change.
    pub fn clear(&self) -> u32 {
        std::mem::take(&mut *self.state.lock().unwrap()).requests
    }

    /// The fault of the request that has just come.
    pub fn next(&self) -> Option<StoreFault> {
        let mut state = self.state.lock().unwrap();
        let number = state.requests;
        state.requests += 1;
        let (requests, every, fault) = state.fault.as_ref()?;
        (requests.contains(&number) && (number - requests.start).is_multiple_of(*every)).then_some(*fault)
    }
}
