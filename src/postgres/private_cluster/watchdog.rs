//! What cleans up when this process is killed: a shell that waits for the end of a pipe only we hold open.

use super::ClusterError;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the owner is gone; then ends the server and removes the directory.
///
/// The first second lets a server that was just being started write its number. The number is trusted only when the
/// process names the data directory. Removing is repeated because an `initdb` may still be writing.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
dir=$1
read -r _
tries=0
while [ -e "$dir" ] && [ "$tries" -lt 30 ]; do
  sleep 1
  pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)
  case $pid in ''|*[!0-9]*) pid= ;; esac
  if [ -n "$pid" ]; then
    if [ -r "/proc/$pid/cmdline" ]; then command=$(tr '\0' ' ' < "/proc/$pid/cmdline"); else command=$(ps -o command= -p "$pid"); fi
    case $command in
      *"$dir/data"*) if [ "$tries" -lt 10 ]; then kill -QUIT "$pid"; else kill -KILL "$pid"; fi
                     tries=$((tries + 1)); continue ;;
    esac
  fi
  rm -rf -- "$dir"
  tries=$((tries + 1))
done
"#;

/// The running shell.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    pub(super) fn start(dir: &Path, environment: &[(String, String)]) -> Result<Self, ClusterError> {
        Command::new("sh")
            .args(["-c", SCRIPT, "safe-migrate-watchdog"])
            .arg(dir)
            // It lives long and needs no secret of ours.
            .env_clear()
            .envs(environment.iter().cloned())
            .current_dir("/")
            // Ctrl-C at the terminal goes to a whole process group.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(|source| ClusterError::Spawn { program: PathBuf::from("sh"), source })
    }

    /// Ends it before it can see the end of its input; to be called when nothing is left to clean up.
    pub(super) fn dismiss(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
