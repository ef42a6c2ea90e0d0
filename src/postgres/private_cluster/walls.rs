//! Walls that need no rights and no namespaces: a process puts them around itself, and they hold for all that it becomes.
//!
//! seccomp: no connection to anybody, no look into another process, no mount. Landlock: writing only below one directory,
//! starting only PostgreSQL's own programs, no signal to a process outside. The server accepts connections of ours and
//! makes none itself (DESIGN.md, section 7).
//!
//! The program starts itself anew with [`WORD`] as its first argument, because only a process without threads of others
//! can do this to itself without `unsafe`.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The first argument that makes this program put up the walls and become another one.
const WORD: &str = "__behind-walls";

/// What our own program exits with when the walls cannot be put up. No program of PostgreSQL does.
const NO_WALLS: u8 = 97;

static OURSELVES: OnceLock<PathBuf> = OnceLock::new();

/// To be called first by a program whose private servers are to have walls. With its own words before a program it becomes that
/// one behind them, and returns only when it could not.
pub fn provide(arguments: &[OsString]) -> Option<std::process::ExitCode> {
    let [_, word, rest @ ..] = arguments else { return note_ourselves() };
    if word != WORD {
        return note_ourselves();
    }
    let why = match rest {
        [dir, programs, user, program, arguments @ ..] => {
            let user = user.to_str().and_then(|user| user.split_once(':'));
            let user = user.and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
            go(Path::new(dir), Path::new(programs), user, (program, arguments)).unwrap_or_else(|why| why)
        }
        _ => "it is for safe-migrate's own use".to_owned(),
    };
    // The one place outside of the command line's own that writes there: nobody else is listening in this process.
    let _told = std::io::Write::write_all(&mut std::io::stderr(), format!("{why}\n").as_bytes());
    Some(NO_WALLS.into())
}

fn note_ourselves() -> Option<std::process::ExitCode> {
    if let Ok(path) = std::env::current_exe() {
        let _second = OURSELVES.set(path);
    }
    None
}

/// The words before a program that put walls around it: it writes below `dir` only and starts only the server in
/// `programs`, as this user and group when they are given. None where there is no program to do it (a library's user) or no such kernel.
pub(super) fn words(dir: &Path, programs: &Path, user: Option<(u32, u32)>) -> Option<Vec<OsString>> {
    let ourselves = OURSELVES.get().filter(|_| cfg!(target_os = "linux") && !crate::fault::is_off("off.own-walls"))?;
    let user = user.map_or_else(|| "-".to_owned(), |(user, group)| format!("{user}:{group}"));
    Some(vec![ourselves.into(), WORD.into(), dir.into(), programs.into(), user.into()])
}

/// Returns only why not.
fn go(
    dir: &Path,
    programs: &Path,
    user: Option<(u32, u32)>,
    (program, arguments): (&OsStr, &[OsString]),
) -> Result<String, String> {
    let program = found(program);
    raise(dir, programs, &program)?;
    stand()?;
    let mut command = Command::new(&program);
    if let Some((user, group)) = user {
        // The other groups go with it.
        command.uid(user).gid(group);
    }
    let error = command.args(arguments).exec();
    Ok(format!("{} could not be started: {error}", program.display()))
}

/// Tries what they refuse, without doing harm where they do not.
fn stand() -> Result<(), String> {
    let is_refused =
        |error: Option<std::io::Error>| error.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    if !is_refused(std::os::unix::net::UnixStream::connect("/nowhere/safe-migrate").err()) {
        return Err("seccomp: a connection was not refused".to_owned());
    }
    // Everybody may, and it would keep nothing.
    if !is_refused(std::fs::OpenOptions::new().write(true).open("/dev/zero").err()) {
        return Err("Landlock: a file outside was opened for writing".to_owned());
    }
    Ok(())
}

/// A name without a slash is looked for in PATH.
fn found(program: &OsStr) -> PathBuf {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.to_owned();
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&directories).map(|directory| directory.join(path));
    all.into_iter().find(|one| one.is_file()).unwrap_or_else(|| path.to_owned())
}

#[cfg(target_os = "linux")]
fn raise(dir: &Path, programs: &Path, program: &Path) -> Result<(), String> {
    files(dir, programs, program).map_err(|error| format!("Landlock: {error}"))?;
    system_calls().map_err(|error| format!("seccomp: {error}"))
}

#[cfg(not(target_os = "linux"))]
fn raise(_dir: &Path, _programs: &Path, _program: &Path) -> Result<(), String> {
    Err("only Linux has them".to_owned())
}

#[cfg(target_os = "linux")]
fn files(dir: &Path, programs: &Path, program: &Path) -> Result<(), landlock::RulesetError> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreatedAttr, Scope,
    };
    // Must be there: writing and starting (Linux 5.13). The rest comes with later kernels.
    let (base, newest) = (ABI::V1, ABI::V6);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(base))?
        .handle_access(AccessFs::Execute)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    let mut allow = |path: &Path, access| -> Result<(), landlock::RulesetError> {
        // What is not there needs no rule.
        if let Ok(handle) = PathFd::new(path) {
            (&mut rules).add_rule(PathBeneath::new(handle, access))?;
        }
        Ok(())
    };
    allow(dir, AccessFs::from_write(newest))?;
    allow(Path::new("/dev/null"), AccessFs::WriteFile.into())?;
    // Not the directory: some systems keep the server beside every other program.
    allow(&programs.join("postgres"), AccessFs::Execute.into())?;
    allow(program, AccessFs::Execute.into())?;
    for loader in loaders() {
        allow(&loader, AccessFs::Execute.into())?;
    }
    rules.restrict_self()?;
    Ok(())
}

/// The programs that the kernel starts to start one that has shared libraries.
#[cfg(target_os = "linux")]
fn loaders() -> Vec<PathBuf> {
    let is_loader = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("ld-") && name.contains(".so")
    };
    let within = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut found = Vec::new();
    for directory in ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].map(Path::new) {
        for path in within(directory) {
            // Debian keeps it in /lib/x86_64-linux-gnu, with a link from /lib64.
            if path.to_string_lossy().contains("-linux-") && path.is_dir() {
                found.extend(within(&path).into_iter().filter(is_loader));
            } else if is_loader(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// What a server of ours never calls, and who reaches out does.
#[cfg(target_os = "linux")]
const REFUSED: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Its requests do not pass through this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

#[cfg(target_os = "linux")]
fn system_calls() -> Result<(), String> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    let said = |error: seccompiler::BackendError| error.to_string();
    let when = |argument, length, value| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let condition = SeccompCondition::new(argument, length, SeccompCmpOp::Ne, value)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let local = u64::try_from(libc::AF_UNIX).unwrap_or(1);
    rules.insert(libc::SYS_socket, when(0, SeccompCmpArgLen::Dword, local).map_err(said)?);
    // With an address, it needs no connection.
    rules.insert(libc::SYS_sendto, when(4, SeccompCmpArgLen::Qword, 0).map_err(said)?);
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let machine = std::env::consts::ARCH.try_into().map_err(said)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, machine).map_err(said)?;
    let program: BpfProgram = filter.try_into().map_err(said)?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}
