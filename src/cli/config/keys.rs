//! `[trust] keys`, `--trust-key` and the key file of this user: who is believed, and who signs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::environment::Environment;
use super::super::error::{CliError, ErrorKind};
use crate::signing::{May, PublicKey, SigningKey, Trust, TrustedKey};

/// Names a file with the private key in the place of the one in the user's configuration directory.
const SIGNING_KEY: &str = "SAFE_MIGRATE_SIGNING_KEY";
/// Public keys that count besides those of the configuration file, separated by commas or spaces.
const TRUST_KEY: &str = "SAFE_MIGRATE_TRUST_KEY";

/// An entry of `[trust] keys`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyEntry {
    name: String,
    key: PublicKey,
    may: Option<Vec<MayWord>>,
    #[serde(default)]
    sources: BTreeSet<String>,
    last: Option<u64>,
    only: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MayWord {
    Snapshot,
    Receipt,
    Proof,
    Forget,
}

impl MayWord {
    fn may(self) -> May {
        match self {
            MayWord::Snapshot => May::Snapshot,
            MayWord::Receipt => May::Receipt,
            MayWord::Proof => May::Proof,
            MayWord::Forget => May::Forget,
        }
    }
}

impl KeyEntry {
    fn trusted(&self) -> TrustedKey {
        let mut key = TrustedKey::new(self.name.clone(), self.key);
        if let Some(may) = &self.may {
            key.may = may.iter().map(|word| word.may()).collect();
        }
        key.sources = self.sources.clone();
        key.last = self.last;
        key.only = self.only.clone();
        key
    }
}

/// Where the key of this user lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyFile {
    /// The file; none: this user has no home, and no variable names one.
    pub(crate) path: Option<PathBuf>,
    /// Whether a variable names it: it must be there then.
    is_named: bool,
}

impl KeyFile {
    /// The file that the environment names, or the one in the user's configuration directory.
    pub(crate) fn of(environment: &Environment) -> Self {
        let named = environment.get(SIGNING_KEY).map(PathBuf::from);
        let is_named = named.is_some();
        let default = || Some(environment.config_directory()?.join("signing-key.pem"));
        Self { path: named.or_else(default), is_named }
    }

    /// Reads the key, when there is one.
    pub(crate) fn read(&self) -> Result<Option<SigningKey>, CliError> {
        let Some(path) = &self.path else { return Ok(None) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_named => return Ok(None),
            Err(error) => return Err(unreadable(path).caused_by(error)),
        };
        SigningKey::from_pem(&text).map(Some).map_err(|error| unreadable(path).caused_by(error))
    }

    /// A warning when others can read the key.
    pub(crate) fn warning(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let mode = fs::metadata(path).ok()?.mode();
        (mode & 0o044 != 0)
            .then(|| format!("others can read {}, and sign with it: chmod 600 {}", path.display(), path.display()))
    }

    /// Draws a key and writes it, mode 0600; never over one that is there.
    pub(crate) fn create(&self) -> Result<SigningKey, CliError> {
        let Some(path) = &self.path else {
            return Err(CliError::usage("no-home", "there is no home directory to keep a key in")
                .hint(format!("name a file in {SIGNING_KEY}")));
        };
        let failed = |error: io::Error| {
            CliError::new(ErrorKind::Failed, "key-unwritable", format!("cannot write {}", path.display()))
                .caused_by(error)
        };
        let (key, text) = SigningKey::generate().map_err(|error| failed(io::Error::other(error)))?;
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())).map_err(failed)?;
        Ok(key)
    }
}

fn unreadable(path: &Path) -> CliError {
    CliError::usage("key-unreadable", format!("the signing key {} cannot be read", path.display()))
        .hint("it is a private key of Ed25519 in PEM; `safe-migrate store keys new` makes one where there is none")
}

/// Everything that says whom to believe.
pub(crate) fn trust(
    entries: &[KeyEntry],
    (given, accept_unsigned): (&[PublicKey], Option<&str>),
    environment: &Environment,
) -> Result<Trust, CliError> {
    let mut keys: Vec<TrustedKey> = entries.iter().map(KeyEntry::trusted).collect();
    let words = environment.get(TRUST_KEY).unwrap_or_default().split([',', ' ', '\n']).filter(|word| !word.is_empty());
    for word in words {
        let key = word.parse().map_err(|error| CliError::usage("key-invalid", format!("{TRUST_KEY}: {error}")))?;
        keys.push(TrustedKey::new(TRUST_KEY, key));
    }
    keys.extend(given.iter().map(|key| TrustedKey::new("--trust-key", *key)));
    let accept_unsigned = accept_unsigned.map(str::to_owned);
    Ok(Trust { keys, signer: KeyFile::of(environment).read()?, accept_unsigned })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_with_rights_for_its_user_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config/signing-key.pem");
        let file = KeyFile { path: Some(path.clone()), is_named: false };
        assert_eq!(file.read().unwrap(), None);
        let key = file.create().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(file.read().unwrap(), Some(key.clone()));
        assert_eq!(file.warning(), None);
        assert!(file.create().is_err(), "never over one that is there");
        assert_eq!(file.read().unwrap(), Some(key));

        fs::write(&path, "no key").unwrap();
        let error = file.read().unwrap_err();
        assert!(error.message.contains("cannot be read"), "{}", error.message);
        let named = KeyFile { path: Some(directory.path().join("none")), is_named: true };
        assert!(named.read().is_err(), "one that is named must be there");
    }
}
