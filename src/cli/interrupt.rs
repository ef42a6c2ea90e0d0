//! Ctrl-C and its kin: the first asks for a safe stop, the second ends the program at once.

use tokio::signal::unix::{SignalKind, signal};

use super::error::ErrorKind;
use super::output::write_note;
use crate::workflow;

/// Whether the operator wants to stop. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    wish: workflow::Interrupt,
}

impl Interrupt {
    /// An interrupt that no signal raises.
    pub(crate) fn new() -> Interrupt {
        Interrupt { wish: workflow::Interrupt::default() }
    }

    /// Raises this interrupt on SIGINT, SIGTERM and SIGHUP. Must be called inside a tokio runtime.
    ///
    /// A signal that the parent process ignores (`nohup`, a shell's background job) stays ignored.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen(&self) -> std::io::Result<()> {
        let ignored = ignored_signals();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            if is_ignored(ignored, kind) {
                continue;
            }
            let mut signals = signal(kind)?;
            let interrupt = self.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    interrupt.on_signal(kind);
                }
            });
        }
        Ok(())
    }

    fn on_signal(&self, kind: SignalKind) {
        if !self.raise() {
            write_note("\ninterrupted: stopping at the next safe point (again to stop at once)\n");
        } else if kind != SignalKind::hangup() {
            // A closing terminal sends SIGHUP next to another signal; it alone never cuts a safe stop short.
            stop_at_once();
        }
    }

    /// Asks for a safe stop; returns whether one had been asked for already.
    pub(crate) fn raise(&self) -> bool {
        self.wish.set()
    }

    /// Whether a safe stop was asked for.
    pub(crate) fn raised(&self) -> bool {
        self.wish.is_set()
    }

    /// Completes when a safe stop is asked for.
    pub(crate) async fn wait(&self) {
        self.wish.wait().await;
    }

    /// The same wish, as the workflows see it.
    pub(crate) fn wish(&self) -> &workflow::Interrupt {
        &self.wish
    }
}

#[expect(clippy::exit, reason = "the operator asked twice; whatever is running does not stop by itself")]
fn stop_at_once() {
    std::process::exit(i32::from(ErrorKind::Interrupted.exit_code()));
}

/// The mask of signals that this process was started to ignore; 0 where the system does not tell.
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_mask(&status))
}

fn ignored_mask(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_ignored(mask: u64, kind: SignalKind) -> bool {
    u32::try_from(kind.as_raw_value() - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_interrupt_is_raised() {
        let interrupt = Interrupt::new();
        let other = interrupt.clone();
        let waiting = tokio::spawn(async move { other.wait().await });
        assert!(!interrupt.raised());
        assert!(!interrupt.raise(), "raised for the first time");
        assert!(interrupt.raise(), "and for the second");
        waiting.await.unwrap();
    }

    #[test]
    fn the_hangup_that_nohup_ignores_is_seen() {
        let mask = ignored_mask("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n");
        assert!(is_ignored(mask, SignalKind::hangup()));
        assert!(!is_ignored(mask, SignalKind::interrupt()));
        assert_eq!(ignored_mask(""), 0);
    }
}
