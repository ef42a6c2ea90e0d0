//! Failpoints: places where a test kills the program or turns a safeguard off.
//!
//! A build without the Cargo feature `faults` has none of it: [`point`] does nothing and [`is_off`] is always false.
//! With the feature, the variable `FAILPOINTS` names them, as the crate `fail` reads it: `apply.confirmed=return` kills
//! at that place, `apply.confirmed=sleep(3000)` waits there, `2*off->return` passes it twice first; a safeguard is off
//! with `off.run-lock=return`; `fault.reached=return(FILE)` writes the name of each place that is passed into a file.

/// A place in the program; the process kills itself here (SIGKILL) when the test says so.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    note_as_reached(name);
    if fail::eval(name, |_| ()).is_some() {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(feature = "faults")]
fn note_as_reached(name: &str) {
    use std::io::Write;
    if let Some(Some(path)) = fail::eval("fault.reached", |path| path)
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _unwritten = writeln!(file, "{name}");
    }
}

/// A place in the program.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_name: &str) {}

/// Whether a test turned this safeguard off; its name begins with `off.`.
#[cfg(feature = "faults")]
pub fn is_off(safeguard: &str) -> bool {
    fail::eval(safeguard, |_| ()).is_some()
}

#[cfg(all(test, not(feature = "faults")))]
tokio::task_local! {
    /// The safeguard that is off for what one task of a unit test does.
    pub static OFF: &'static str;
}

/// Whether a unit test turned this safeguard off for its task.
#[cfg(all(test, not(feature = "faults")))]
pub fn is_off(safeguard: &str) -> bool {
    OFF.try_with(|off| *off == safeguard).unwrap_or(false)
}

/// Never: a safeguard cannot be turned off.
#[cfg(not(any(test, feature = "faults")))]
#[inline(always)]
pub fn is_off(_safeguard: &str) -> bool {
    false
}

/// Reads `FAILPOINTS`; they hold as long as the returned guard lives.
#[cfg(feature = "faults")]
pub fn setup() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}
