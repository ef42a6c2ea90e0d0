//! The process environment, read once: the only place with `std::env`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Variables kept by name; those that begin with `PG` or `SAFE_MIGRATE_` are kept as well.
const KEPT: [&str; 17] = [
    "CI",
    "COLORTERM",
    "DATABASE_URL",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LOGNAME",
    "NO_COLOR",
    "PATH",
    "SHELL",
    "SUDO_UID",
    "TERM",
    "TMPDIR",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// The variables that may influence a run. `Debug` shows names only: values can be passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the variables of this process; a value that is not UTF-8 counts as not set.
    pub(crate) fn read() -> Self {
        let kept = |name: &str| name.starts_with("PG") || name.starts_with("SAFE_MIGRATE_") || KEPT.contains(&name);
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| kept(name))
            .collect();
        Environment { variables }
    }

    /// The value of a variable; an empty one counts as not set, as with libpq.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Variables that the operator named to be passed on, as they are now. They are not kept: we do not heed them.
    pub(crate) fn passed_on(names: &[String]) -> Vec<(String, String)> {
        names.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect()
    }

    /// Where temporary files go.
    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    }

    /// Where this user's configuration of programs lies: `$XDG_CONFIG_HOME/safe-migrate`.
    pub(crate) fn config_directory(&self) -> Option<PathBuf> {
        let base = match (self.get("XDG_CONFIG_HOME"), self.get("HOME")) {
            (Some(base), _) => PathBuf::from(base),
            (None, home) => PathBuf::from(home?).join(".config"),
        };
        Some(base.join("safe-migrate"))
    }

    /// Where programs of this user keep what they know: `$XDG_STATE_HOME/safe-migrate`.
    pub(crate) fn state_directory(&self) -> Option<PathBuf> {
        let base = match (self.get("XDG_STATE_HOME"), self.get("HOME")) {
            (Some(base), _) => PathBuf::from(base),
            (None, home) => PathBuf::from(home?).join(".local/state"),
        };
        Some(base.join("safe-migrate"))
    }

    /// The user of the operating system, for the ledger.
    pub(crate) fn user(&self) -> String {
        let named = self.get("USER").or_else(|| self.get("LOGNAME")).map(str::to_owned);
        named.unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw()))
    }

    /// The name of this machine, for the ledger.
    pub(crate) fn host(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// All variables, for the connection parser and the programs.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Environment { variables }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// The words of the command line, the program's own name first.
pub(crate) fn command_line() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// The directory the program was started in.
pub(crate) fn current_directory() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set_and_values_are_not_shown() {
        let environment = Environment::from([("PGPASSWORD", "s3cret"), ("DATABASE_URL", "")]);
        assert_eq!(environment.get("PGPASSWORD"), Some("s3cret"));
        assert_eq!(environment.get("DATABASE_URL"), None);
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
