//! Keeps the private server to itself: no network, no other server's socket, no shell.
//!
//! A migration may call `dblink`, touch a foreign table or a subscription, or run `COPY … TO PROGRAM`, also from
//! within a function where no look at its text would find it. No setting of PostgreSQL stops that; namespaces of the
//! kernel do, and `unshare` gives them to root and, where the system lets it, to everybody.

use super::account::Accounts;
use super::walls;
use crate::postgres::Programs;
use crate::postgres::system_user::SystemUser;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Whether a private server can reach out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// It connects to no other server, writes into no directory but its own and starts no program but PostgreSQL's.
    Confined(Walls),
    /// It can do what its user can.
    Open {
        /// Why it is not confined.
        why: String,
    },
}

/// What confines a private server; each was tried, and each is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walls {
    /// seccomp and Landlock; none: why not.
    pub own: Option<String>,
    /// Namespaces; none: why not.
    pub namespaces: Option<String>,
    /// A user of the operating system of its own, where we may choose one; none: why not.
    pub user: Option<String>,
}

impl Walls {
    /// In words: what stands, and what does not.
    pub fn words(&self) -> String {
        let names = [("seccomp and Landlock", &self.own), ("namespaces", &self.namespaces)];
        let stand: Vec<&str> = names.iter().filter(|(_, why)| why.is_none()).map(|(name, _)| *name).collect();
        let mut words = format!("behind {}", stand.join(", and "));
        if let Some(why) = &self.user {
            words.push_str(&format!("; as a user who may be that of other servers ({why})"));
        }
        for (name, why) in names {
            if let Some(why) = why {
                words.push_str(&format!("; without {name} ({why})"));
            }
        }
        words
    }
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
/// For the server alone: no shell, no look at the processes of this machine, and a shared memory of its own.
const ALONE: &str = r#"
mount --bind /dev/null "$(readlink -f /bin/sh)"
case $dir/ in
  /dev/shm/*) ;;
  *) if [ -d /dev/shm ]; then mount -t tmpfs -o mode=1777 none /dev/shm; fi ;;
esac
mount -t tmpfs -o size=4k,mode=555 none /proc
"#;
const GO: &str = "exec \"$@\"\n";

/// Before 15, the statistics collector needs the loopback interface, which a network of its own does not have.
const FIRST_WITHOUT_LOOPBACK: u32 = 15;

/// Where and as whom a server would run: the place of its directory, its programs, its user.
type Circumstances = (Option<PathBuf>, PathBuf, Option<u32>);

/// What was found out in this process. A trial starts a dozen processes.
static FOUND: Mutex<BTreeMap<Circumstances, Confinement>> = Mutex::new(BTreeMap::new());

/// Finds out by doing it, once for all servers that this process makes in one place.
pub(super) fn detect(programs: &Programs, accounts: Option<&Accounts>, dir: &Path) -> Confinement {
    let account = accounts.map(|accounts| &accounts.runner);
    let around = (dir.parent().map(Path::to_owned), programs.dir().to_owned(), account.map(|account| account.uid));
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    found.entry(around).or_insert_with(|| find_out(programs, accounts, dir)).clone()
}

fn find_out(programs: &Programs, accounts: Option<&Accounts>, dir: &Path) -> Confinement {
    let (account, user) = (accounts.map(|one| &one.runner), accounts.and_then(|one| one.shared.clone()));
    if programs.version().major < FIRST_WITHOUT_LOOPBACK {
        let why = format!("PostgreSQL {} needs the network for its statistics", programs.version().major);
        return Confinement::Open { why };
    }
    let tried = |own: bool, namespaces: bool| try_out(Wrapping { own, namespaces }, programs, account, dir);
    if tried(true, true).is_ok() {
        return Confinement::Confined(Walls { own: None, namespaces: None, user });
    }
    match (tried(true, false).err(), tried(false, true).err()) {
        (Some(own), Some(namespaces)) => Confinement::Open { why: format!("{own}; {namespaces}") },
        // Each by itself, and not together: then the one that is tried to its end by more of us.
        (None, None) if tried(true, true).is_err() => {
            Confinement::Confined(Walls { own: None, namespaces: Some("not together with Landlock".to_owned()), user })
        }
        (own, namespaces) => Confinement::Confined(Walls { own, namespaces, user }),
    }
}

/// What to put around a server.
#[derive(Clone, Copy)]
struct Wrapping {
    own: bool,
    namespaces: bool,
}

/// Starts a program of PostgreSQL like that, which only says its version.
fn try_out(wrapping: Wrapping, programs: &Programs, account: Option<&SystemUser>, dir: &Path) -> Result<(), String> {
    let mut command = wrap_in(wrapping, programs, account, dir)?;
    command.arg(programs.dir().join("postgres")).arg("--version").stdin(Stdio::null()).current_dir("/");
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or_default().to_owned();
            Err(if words.is_empty() { "namespaces cannot be made here".to_owned() } else { words })
        }
        Err(error) => Err(format!("{} cannot be run: {error}", command.get_program().display())),
    }
}

/// The command that confines what is added to it as its arguments. It keeps its process number through all of it.
pub(super) fn wrap(walls: &Walls, programs: &Programs, account: Option<&SystemUser>, dir: &Path) -> Option<Command> {
    let wrapping = Wrapping { own: walls.own.is_none(), namespaces: walls.namespaces.is_none() };
    wrap_in(wrapping, programs, account, dir).ok()
}

fn wrap_in(
    wrapping: Wrapping,
    programs: &Programs,
    account: Option<&SystemUser>,
    dir: &Path,
) -> Result<Command, String> {
    let mut words: Vec<OsString> = Vec::new();
    if wrapping.namespaces {
        let script = format!("{HIDE}{ALONE}{GO}");
        words.extend(in_namespaces(&script, account.is_none(), dir).ok_or("only Linux has the namespaces for that")?);
    }
    if wrapping.own {
        // As ourselves still: what mounts has been mounted, and the server's user need not be able to read our program.
        let user = account.filter(|_| !wrapping.namespaces).map(|account| (account.uid, account.gid));
        words.extend(walls::words(dir, programs.dir(), user).ok_or("this program cannot put up walls of its own")?);
    }
    if wrapping.namespaces {
        words.push("setpriv".into());
        match account {
            Some(account) => {
                let ids = ["--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string(), "--clear-groups"];
                words.extend(ids.map(OsString::from));
            }
            None => words.push("--ambient-caps=-all".into()),
        }
        let rest = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"];
        words.extend(rest.map(OsString::from));
    }
    let (program, arguments) = words.split_first().ok_or("nothing confines it")?;
    let mut command = Command::new(program);
    command.env_clear().envs(programs.environment().iter().cloned()).args(arguments);
    Ok(command)
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
    let fixed =
        ["--net", "--ipc", "--mount", "--propagation", "private", "--", "sh", "-c", script, "safe-migrate-shadow"];
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
