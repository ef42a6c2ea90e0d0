//! A key that only this user of this machine has: what the store is told of a value by it, nobody can guess from the store.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Project;

const LENGTH: usize = 32;

/// The key.
pub(super) struct MachineKey([u8; LENGTH]);

impl Project {
    /// The key of this user, made when there is none; else why there is none.
    pub(super) fn machine_key(&self) -> Result<MachineKey, String> {
        let Some(directory) = &self.state_dir else {
            return Err("there is no home directory to keep a key in".to_owned());
        };
        let path = directory.join("receipt-key");
        read_or_make(&path).map_err(|error| format!("no key can be kept in {}: {error}", path.display()))
    }
}

impl MachineKey {
    /// HMAC-SHA-256 of these parts, of a kind of their own.
    pub(super) fn hash<'a>(&self, kind: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
        let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(&self.0) else { unreachable!("any length is one of a key") };
        for part in std::iter::once(kind.as_bytes()).chain(parts) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize().into_bytes())
    }
}

fn read_or_make(path: &Path) -> std::io::Result<MachineKey> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&rand::random::<[u8; LENGTH]>())?;
    // Never over one that another run has made meanwhile.
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => read(path)?.ok_or_else(|| std::io::Error::other("it is gone again")),
    }
}

fn read(path: &Path) -> std::io::Result<Option<MachineKey>> {
    match std::fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(MachineKey(key))),
            Err(_) => Err(std::io::Error::other("it is no key; remove it")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_nobody_else_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/receipt-key");
        let hash = |key: &MachineKey, parts: &[&str]| key.hash("a", parts.iter().map(|part| part.as_bytes()));
        let (one, again) = (read_or_make(&path).unwrap(), read_or_make(&path).unwrap());
        assert_eq!(hash(&one, &["x"]), hash(&again, &["x"]));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(hash(&one, &["xy"]), hash(&one, &["x", "y"]));
        let other = read_or_make(&directory.path().join("other")).unwrap();
        assert_ne!(hash(&one, &["x"]), hash(&other, &["x"]));
        std::fs::write(&path, "short").unwrap();
        assert!(read_or_make(&path).is_err());
    }
}
