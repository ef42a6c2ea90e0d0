//! Logs for `-v`: our own modules only, on stderr, with passwords masked.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use super::output::write_note;
use crate::report::redact;

/// Turns logging on for `-v` (debug) and `-vv` (trace). Other crates stay silent: some of them log what they send.
pub(crate) fn start(verbosity: u8, color: bool) {
    let level = match verbosity {
        0 => return,
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::new(format!("off,safe_migrate={level}"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(|| RedactedStderr);
    // Fails only when a subscriber is there already, which then does the logging.
    let _already_logging = subscriber.try_init();
}

/// Stderr behind [`redact`]. The formatter writes each event in one piece.
struct RedactedStderr;

impl Write for RedactedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_note(&redact(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
