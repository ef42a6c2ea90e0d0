//! Who runs the private server when we are root: PostgreSQL refuses to, and its usual user may be production's too.
//!
//! `initdb` asks the system for the name of its user, so the usual one makes the files; the server itself asks for none,
//! so a number that nobody else has runs it, and reads nothing that is not for everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};

use super::ClusterError;
use crate::postgres::Programs;
use crate::postgres::system_user::{self, SystemUser};

/// Who makes the files when nobody else is named.
pub(super) const DEFAULT_USER: &str = "postgres";

/// Numbers that Debian's policy reserves and systemd gives to services for as long as they run; containers have them too.
const OWN: std::ops::Range<u32> = 65_000..65_534;

/// The users of one server.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    /// Who runs `initdb`.
    pub(super) maker: SystemUser,
    /// Who owns the files after that, and runs the server.
    pub(super) runner: SystemUser,
    /// Why that is no user of its own; none when it is, or when one was named.
    pub(super) shared: Option<String>,
}

/// The users to switch to; `None` means the user of this process.
pub(super) fn choose(run_as: Option<&str>, programs: &Programs) -> Result<Option<Accounts>, ClusterError> {
    let euid = system_user::effective_uid();
    if euid == 0 {
        let user = run_as.unwrap_or(DEFAULT_USER);
        let found = system_user::named(user).filter(|found| found.uid != 0);
        let maker = found.ok_or_else(|| ClusterError::NoSuchUser { user: user.to_owned() })?;
        if run_as.is_some() {
            return Ok(Some(Accounts { runner: maker.clone(), maker, shared: None }));
        }
        let why_not = why_not_of_its_own(programs);
        let own = if why_not.is_none() { free_number() } else { None };
        return Ok(Some(match own {
            Some(number) => {
                let runner = SystemUser { name: format!("user {number}"), uid: number, gid: number };
                Accounts { maker, runner, shared: None }
            }
            None => {
                let why = why_not.unwrap_or_else(|| "no number is free".to_owned());
                Accounts { runner: maker.clone(), maker, shared: Some(why) }
            }
        }));
    }
    match run_as {
        Some(user) if system_user::named(user).is_none_or(|found| found.uid != euid) => {
            Err(ClusterError::CannotSwitchUser { user: user.to_owned() })
        }
        _ => Ok(None),
    }
}

/// Whether a user of the system runs servers of ours, or did.
pub(super) fn may_be_ours(uid: u32, run_as: Option<&str>) -> bool {
    uid == system_user::effective_uid()
        || system_user::named(run_as.unwrap_or(DEFAULT_USER)).is_some_and(|user| user.uid == uid)
        || (system_user::effective_uid() == 0 && OWN.contains(&uid))
}

/// What was found out in this process, for each directory of programs.
static FOUND: Mutex<BTreeMap<PathBuf, Option<String>>> = Mutex::new(BTreeMap::new());

/// Tries whether anybody may start the server.
fn why_not_of_its_own(programs: &Programs) -> Option<String> {
    if crate::fault::is_off("off.own-user") {
        return Some("switched off".to_owned());
    }
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let tried = found.entry(programs.dir().to_owned()).or_insert_with(|| {
        let Some(number) = free_number() else { return Some("no number is free".to_owned()) };
        let mut command = Command::new(programs.dir().join("postgres"));
        command.arg("--version").env_clear().envs(programs.environment().iter().cloned()).current_dir("/");
        command.uid(number).gid(number).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("postgres as a user of its own: {status}")),
            Err(error) => Some(format!("postgres cannot be started by everybody: {error}")),
        }
    });
    tried.clone()
}

/// A number that no user of the system, none that it may give to containers, and no process has.
fn free_number() -> Option<u32> {
    let taken = numbers_of_processes();
    let given = given_to_containers(&std::fs::read_to_string("/etc/subuid").unwrap_or_default());
    let is_free = |number: &u32| {
        system_user::numbered(*number).is_none()
            && !taken.contains(number)
            && !given.iter().any(|range| range.contains(number))
    };
    let count = OWN.end - OWN.start;
    let first = rand::random::<u32>() % count;
    (0..count).map(|step| OWN.start + (first + step) % count).find(is_free)
}

fn numbers_of_processes() -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    entries.filter(is_process).filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.uid()).collect()
}

/// The ranges of `/etc/subuid`: `name:first:count`.
fn given_to_containers(text: &str) -> Vec<std::ops::Range<u32>> {
    let range = |line: &str| {
        let mut fields = line.split(':').skip(1).map(|field| field.trim().parse::<u32>().ok());
        let (first, count) = (fields.next()??, fields.next()??);
        Some(first..first.saturating_add(count))
    };
    text.lines().filter_map(range).collect()
}

/// Gives all below a directory to a user. Its owner until now could put a link there at any moment, so each entry is opened
/// without following, and a file must have one name.
pub(super) fn hand_over(directory: &Path, user: &SystemUser) -> std::io::Result<()> {
    let handle = rustix::fs::openat(CWD, directory, flags() | OFlags::DIRECTORY, Mode::empty())?;
    give(&handle, user)?;
    below(&handle, user)
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC
}

fn give(handle: &impl AsFd, user: &SystemUser) -> std::io::Result<()> {
    Ok(rustix::fs::fchown(handle, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?)
}

fn below(directory: &OwnedFd, user: &SystemUser) -> std::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let kind = FileType::from_raw_mode(rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        let other = || std::io::Error::other(format!("{} is not a plain file of its own", name.to_string_lossy()));
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            return Err(other());
        }
        let handle = rustix::fs::openat(directory, name, flags(), Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                give(&handle, user)?;
                below(&handle, user)?;
            }
            FileType::RegularFile if stat.st_nlink == 1 => give(&handle, user)?,
            _ => return Err(other()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_its_own_is_nobodys() {
        assert_eq!(
            given_to_containers("cook:100000:65536\nbad\nwaiter:65000:10\n"),
            [100_000..165_536, 65_000..65_010]
        );
        let number = free_number().expect("one of 500 is free");
        assert!(OWN.contains(&number) && system_user::numbered(number).is_none());
    }

    #[test]
    fn what_has_a_second_name_is_not_handed_over() {
        if system_user::effective_uid() != 0 {
            return;
        }
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let user = SystemUser { name: "x".to_owned(), uid: OWN.start, gid: OWN.start };
        std::fs::create_dir(root.path().join("base")).unwrap();
        std::fs::write(root.path().join("base/1"), "").unwrap();
        hand_over(root.path(), &user).unwrap();
        assert_eq!(std::fs::metadata(root.path().join("base/1")).unwrap().uid(), user.uid);
        let precious = other.path().join("precious");
        std::fs::write(&precious, "").unwrap();
        for plant in [std::os::unix::fs::symlink, |from: PathBuf, to: PathBuf| std::fs::hard_link(from, to)] {
            plant(precious.clone(), root.path().join("base/planted")).unwrap();
            assert!(hand_over(root.path(), &user).is_err());
            assert_eq!(std::fs::metadata(&precious).unwrap().uid(), 0);
            std::fs::remove_file(root.path().join("base/planted")).unwrap();
        }
    }
}
