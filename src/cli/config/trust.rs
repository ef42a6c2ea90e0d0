//! Whose configuration file may be heeded that was found by search: it can name a `password_command`, which is run.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::environment::Environment;
use super::super::error::{CliError, ErrorKind};
use super::StoreConfig;

/// Whom files may belong to, and where it does not matter.
#[derive(Debug)]
pub(crate) struct Trust {
    users: Vec<u32>,
    /// Where the list of trusted directories lies; none: this user has no home.
    list: Option<PathBuf>,
    in_container: bool,
}

impl Trust {
    /// The caller, root, and who became root by sudo.
    pub(crate) fn of(environment: &Environment) -> Trust {
        let caller = rustix::process::geteuid().as_raw();
        let before_sudo = environment.get("SUDO_UID").filter(|_| caller == 0).and_then(|uid| uid.parse().ok());
        Trust {
            users: [caller, 0].into_iter().chain(before_sudo).collect(),
            list: environment.config_directory().map(|base| base.join("trusted")),
            in_container: is_container(Path::new("/")),
        }
    }

    /// Refuses a file that somebody else put there, or can change. Also a warning.
    pub(super) fn check(&self, file: &Path) -> Result<Option<String>, CliError> {
        let directory = file.parent().unwrap_or(Path::new("/"));
        let Some(stranger) = self.stranger(&[file, directory]) else { return Ok(open_to_all(file)) };
        let said = format!("{} belongs to uid {}", stranger.0.display(), stranger.1);
        if self.in_container
            || self.directories().iter().any(|trusted| fs::canonicalize(directory).is_ok_and(|one| one == *trusted))
        {
            tracing::debug!("{said}, which is trusted");
            return Ok(None);
        }
        let refusal = CliError::new(
            ErrorKind::Usage,
            "config-not-yours",
            format!("{said}, so {} is not read: it can name programs to run", file.display()),
        );
        Err(refusal
            .hint(format!("when it is the one you mean: --config {}", quoted(file)))
            .hint(format!("for good: safe-migrate trust {}", quoted(directory))))
    }

    /// What is to be known of a store before rows go into it, or something is believed that comes from it. The default
    /// place, which nobody named, is refused when it is somebody else's.
    pub(crate) fn check_store(&self, store: &StoreConfig, is_default: bool) -> Result<Vec<String>, CliError> {
        let mut warnings = Vec::new();
        let url = store.url.as_deref().unwrap_or_default();
        if url.starts_with("s3://") {
            warnings.extend(store.endpoint.as_deref().filter(|endpoint| is_open(endpoint)).map(|endpoint| {
                format!("rows and schema go to {endpoint} unencrypted, for everybody on the way to read; use https://")
            }));
        }
        let Some(directory) = url.strip_prefix("file://").map(Path::new) else { return Ok(warnings) };
        let parent = directory.parent().unwrap_or(Path::new("/"));
        let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        if is_default && let Some(link) = [directory, parent].into_iter().find(|path| is_link(path)) {
            return Err(not_your_store(&format!("{} is a symbolic link", link.display()), directory));
        }
        if !self.in_container
            && let Some((path, uid)) = self.stranger(&[directory])
        {
            let said = format!("the store {} belongs to uid {uid}", path.display());
            if is_default {
                return Err(not_your_store(&said, directory));
            }
            warnings.push(format!("{said}, who can read and change what is in it"));
        }
        let open = fs::metadata(directory).is_ok_and(|found| found.mode() & 0o002 != 0);
        if open && !self.in_container {
            warnings.push(format!(
                "every user of this machine can change what is in the store {}: chmod o-w {}",
                directory.display(),
                quoted(directory)
            ));
        }
        Ok(warnings)
    }

    /// The first of these paths, or of what they link to, that belongs to somebody else, with the owner.
    fn stranger(&self, paths: &[&Path]) -> Option<(PathBuf, u32)> {
        let owners = paths.iter().flat_map(|path| {
            [fs::symlink_metadata(path), fs::metadata(path)]
                .into_iter()
                .flatten()
                .map(|found| (path.to_path_buf(), found.uid()))
        });
        owners.into_iter().find(|(_, uid)| !self.users.contains(uid))
    }

    /// The directories that this user trusts.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let text = self.list.as_deref().and_then(|list| {
            let own = fs::symlink_metadata(list).is_ok_and(|found| self.users.contains(&found.uid()));
            fs::read_to_string(list).ok().filter(|_| own)
        });
        text.unwrap_or_default().lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
    }

    /// Adds a directory, or takes it out; false when nothing was to be done.
    pub(crate) fn change(&self, directory: &Path, remove: bool) -> Result<bool, CliError> {
        let failed = |what: &str, error: std::io::Error| {
            CliError::new(ErrorKind::Failed, "trust", format!("cannot {what}")).caused_by(error)
        };
        let Some(list) = &self.list else {
            return Err(CliError::usage("trust", "there is no home directory to keep the list in").hint("set HOME"));
        };
        let directory = match fs::canonicalize(directory) {
            Ok(directory) => directory,
            // One that is gone can still be taken out.
            Err(_) if remove => directory.to_owned(),
            Err(error) => return Err(failed(&format!("find {}", directory.display()), error)),
        };
        if directory.to_string_lossy().contains('\n') {
            return Err(CliError::usage(
                "trust",
                "a directory with a line break in its name cannot be kept in the list",
            ));
        }
        let mut all = self.directories();
        let known = all.contains(&directory);
        if known != remove {
            return Ok(false);
        }
        all.retain(|one| *one != directory);
        if !remove {
            all.push(directory);
        }
        let parent = list.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(|error| failed(&format!("make {}", parent.display()), error))?;
        let text: String = all.iter().map(|one| format!("{}\n", one.display())).collect();
        let new = list.with_extension("new");
        let _left = fs::remove_file(&new);
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&new, list))
            .map_err(|error| failed(&format!("write {}", list.display()), error))?;
        Ok(true)
    }
}

/// In a container, files of another user are those of the same operator, seen from outside: a checkout of a CI job, a bind
/// mount. Only root can make these files.
fn is_container(root: &Path) -> bool {
    let is_there = |mark: &&str| fs::metadata(root.join(mark)).is_ok_and(|found| found.is_file() || found.is_dir());
    let marks = [".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io", "var/run/secrets/kubernetes.io"];
    marks.iter().any(is_there)
}

/// A file of ours that everybody may write to is read: with umask 000 all files are.
fn open_to_all(file: &Path) -> Option<String> {
    let mode = fs::metadata(file).ok()?.mode();
    (mode & 0o002 != 0)
        .then(|| format!("every user of this machine can change {}: chmod o-w {}", file.display(), quoted(file)))
}

fn not_your_store(said: &str, directory: &Path) -> CliError {
    CliError::usage("store-not-yours", format!("{said}, so it is not used without being named"))
        .hint(format!("when it is the one you mean: --store file://{}", directory.display()))
}

/// Whether an endpoint is not encrypted and not on this machine.
fn is_open(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_loopback && !host.eq_ignore_ascii_case("localhost")
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte);
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(users: &[u32], list: Option<PathBuf>) -> Trust {
        Trust { users: users.to_vec(), list, in_container: false }
    }

    fn planted() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("safe-migrate.toml");
        fs::write(&file, "").unwrap();
        (root, file)
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_until_its_directory_is_trusted() {
        let (root, file) = planted();
        let me = rustix::process::geteuid().as_raw();
        assert_eq!(trust(&[me], None).check(&file).unwrap(), None);
        let list = root.path().join("config/safe-migrate/trusted");
        let stranger = trust(&[me + 1, me], Some(list.clone()));
        let strict = || Trust { users: vec![me + 1], ..trust(&[], None) };
        let refused = strict().check(&file).unwrap_err();
        assert!(refused.message.contains(&format!("belongs to uid {me}")), "{}", refused.message);
        assert!(refused.hints[1].contains("safe-migrate trust "), "{:?}", refused.hints);

        assert!(stranger.change(root.path(), false).unwrap());
        assert!(!stranger.change(root.path(), false).unwrap(), "it is there already");
        assert_eq!(stranger.directories(), [fs::canonicalize(root.path()).unwrap()]);
        assert_eq!(fs::metadata(&list).unwrap().mode() & 0o777, 0o600);
        assert!(stranger.change(root.path(), true).unwrap());
        assert_eq!(stranger.directories(), [] as [PathBuf; 0]);
    }

    #[test]
    fn in_a_container_there_is_one_operator() {
        let (root, file) = planted();
        assert!(!is_container(root.path()));
        fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert!(is_container(root.path()));
        let container = Trust { in_container: true, ..trust(&[u32::MAX - 1], None) };
        assert_eq!(container.check(&file).unwrap(), None);
    }

    #[test]
    fn a_store_of_somebody_else_is_named_and_the_default_one_refused() {
        let root = tempfile::tempdir().unwrap();
        let me = rustix::process::geteuid().as_raw();
        let store = |url: String, endpoint: Option<&str>| StoreConfig {
            url: Some(url),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            path_style: false,
            sse: None,
            kms_key: None,
        };
        let local = store(format!("file://{}", root.path().display()), None);
        let none: [String; 0] = [];
        assert_eq!(trust(&[me], None).check_store(&local, true).unwrap(), none);
        assert!(trust(&[me + 1], None).check_store(&local, false).unwrap()[0].contains("who can read and change"));
        let refused = trust(&[me + 1], None).check_store(&local, true).unwrap_err();
        assert!(refused.hints[0].contains("--store file:///"), "{:?}", refused.hints);
        fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(trust(&[me], None).check_store(&local, false).unwrap()[0].contains("chmod o-w"));

        let link = root.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        let linked = store(format!("file://{}", link.display()), None);
        assert!(trust(&[me, 0], None).check_store(&linked, true).unwrap_err().message.contains("symbolic link"));

        for (endpoint, warned) in [
            ("http://minio.example:9000", true),
            ("http://10.1.2.3", true),
            ("http://127.0.0.1:9000/", false),
            ("http://[::1]:9000", false),
            ("http://localhost", false),
            ("https://minio.example", false),
        ] {
            let found = trust(&[me], None).check_store(&store("s3://b".to_owned(), Some(endpoint)), false).unwrap();
            assert_eq!(!found.is_empty(), warned, "{endpoint}: {found:?}");
        }
    }

    #[test]
    fn what_everybody_can_change_is_said() {
        let (_root, file) = planted();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let warning = trust(&[rustix::process::geteuid().as_raw()], None).check(&file).unwrap().unwrap();
        assert!(warning.contains("chmod o-w /"), "{warning}");
    }
}
