//! Keeps the private server to itself: no network, no other server's socket, no shell.
//!
//! A migration may call `dblink`, touch a foreign table or a subscription, or run `COPY … TO PROGRAM`, also from
//! within a function where no look at its text would find it. No setting of PostgreSQL stops that; namespaces of the
//! kernel do, and `unshare` gives them to root and, where the system lets it, to everybody.

use crate::postgres::Programs;
use crate::postgres::system_user::SystemUser;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether a private server can reach out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// It has its own network without any interface, sees no socket of another PostgreSQL server and runs no shell.
    Confined,
    /// It can do what its user can.
    Open {
        /// Why it is not confined.
        why: String,
    },
}

/// Runs inside the new namespaces, before the server. The first line is the most important one: nothing may be mounted
/// where others would see it.
///
/// `/dev/null` over a socket makes connecting fail, and over the shell it makes `popen` fail (`COPY … PROGRAM`).
const HIDE: &str = r#"
[ "$(readlink /proc/self/ns/mnt)" != "$1" ] && [ "$(readlink /proc/self/ns/net)" != "$2" ] || exit 1
dir=$3
sockets=$4
shift 4
set -e -f
IFS='
'
for socket in $sockets; do
  if [ -S "$socket" ]; then mount --bind /dev/null "$socket" || [ ! -S "$socket" ]; fi
done
for place in /run/postgresql /var/run/postgresql; do
  case $dir/ in
    "$place"/*) ;;
    *) if [ -d "$place" ]; then mount -t tmpfs -o size=4k,mode=755 none "$place"; fi ;;
  esac
done
"#;
const NO_SHELL: &str = "mount --bind /dev/null \"$(readlink -f /bin/sh)\"\n";
const GO: &str = "exec \"$@\"\n";

/// Before 15, the statistics collector needs the loopback interface, which a network of its own does not have.
const FIRST_WITHOUT_LOOPBACK: u32 = 15;

/// Finds out by doing it.
pub(super) fn detect(programs: &Programs, account: Option<&SystemUser>, dir: &Path) -> Confinement {
    let open = |why: String| Confinement::Open { why };
    if programs.version().major < FIRST_WITHOUT_LOOPBACK {
        return open(format!("PostgreSQL {} needs the network for its statistics", programs.version().major));
    }
    let Some(mut command) = wrap(programs, account, dir) else {
        return open("only Linux has the namespaces for that".to_owned());
    };
    command.arg("true").stdin(Stdio::null()).current_dir("/");
    match command.output() {
        Ok(output) if output.status.success() => Confinement::Confined,
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or_default().to_owned();
            open(if words.is_empty() { "namespaces cannot be made here".to_owned() } else { words })
        }
        Err(error) => open(format!("unshare cannot be run: {error}")),
    }
}

/// The command that confines what is added to it as its arguments. It keeps its process number through all of it.
pub(super) fn wrap(programs: &Programs, account: Option<&SystemUser>, dir: &Path) -> Option<Command> {
    let words = in_namespaces(&format!("{HIDE}{NO_SHELL}{GO}"), account.is_none(), dir)?;
    let mut command = Command::new("unshare");
    command.env_clear().envs(programs.environment().iter().cloned());
    command.args(&words[1..]).arg("setpriv");
    match account {
        Some(account) => {
            command.args(["--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string(), "--clear-groups"]);
        }
        None => {
            command.arg("--ambient-caps=-all");
        }
    }
    command.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]);
    Some(command)
}

/// The words that go before a program of the operator's own, so that it reaches the server in this directory and no
/// other: no network, and no other server's socket. None: the system does not let us.
pub fn words_that_confine(dir: &Path) -> Option<Vec<OsString>> {
    let words = in_namespaces(&format!("{HIDE}{GO}"), !rustix::process::geteuid().is_root(), dir)?;
    let (program, rest) = words.split_first()?;
    let tried = Command::new(program).args(rest).arg("true").stdin(Stdio::null()).output();
    tried.is_ok_and(|output| output.status.success()).then_some(words)
}

/// `unshare` with a script that sees whether the namespaces are new before it mounts anything.
fn in_namespaces(script: &str, own_user: bool, dir: &Path) -> Option<Vec<OsString>> {
    let namespace = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).ok();
    let (mount, network) = (namespace("mnt")?, namespace("net")?);
    let user: &[&str] = if own_user { &["--user", "--map-current-user", "--keep-caps"] } else { &[] };
    let fixed = ["--net", "--mount", "--propagation", "private", "--", "sh", "-c", script, "safe-migrate-shadow"];
    let mut words: Vec<OsString> = ["unshare"].iter().chain(user).chain(&fixed).map(OsString::from).collect();
    words.extend([mount.into(), network.into(), dir.into(), sockets(dir).join("\n").into()]);
    Some(words)
}

/// The sockets of the PostgreSQL servers of this machine, as the kernel lists them, without our own.
fn sockets(dir: &Path) -> Vec<String> {
    let list = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let mut found: Vec<String> = list
        .lines()
        .filter_map(|line| line.split_once(" /").map(|(_, path)| format!("/{path}")))
        .filter(|path| path.contains("/.s.PGSQL.") && !Path::new(path).starts_with(dir))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// What keeps libpq inside the server from what it would use when a connection string does not say: the socket, the
/// services, the passwords and the certificates of the user that runs it.
pub(super) fn libpq_goes_nowhere(command: &mut Command, dir: &Path) {
    let nowhere: PathBuf = dir.join("nowhere");
    for variable in ["PGHOST", "PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR"] {
        command.env(variable, &nowhere);
    }
    command.env("HOME", &nowhere);
}
