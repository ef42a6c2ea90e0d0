//! The numbers of this machine's signatures, outside of the store: who takes one away leaves a gap.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A signature that has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// Its number, from 1.
    pub sequence: u64,
    /// SHA-256 of its text.
    pub hash: String,
    /// The snapshot that it is of.
    pub snapshot: String,
}

/// What is known of a key and a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The newest that was in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Numbered>,
    /// One that was about to be put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<Numbered>,
}

/// The file of one store, locked: `seen-<store id>.json` in the state directory.
#[derive(Debug)]
pub struct Numbers {
    path: PathBuf,
    /// By source, then by public key.
    known: BTreeMap<String, BTreeMap<String, Known>>,
    _lock: File,
}

impl Numbers {
    /// Reads the file of a store and keeps others of this user away from it, until this is dropped. Waits so long at most.
    pub async fn lock(directory: &Path, store: &str, patience: Duration) -> io::Result<Self> {
        let path = directory.join(format!("seen-{store}.json"));
        fs::create_dir_all(directory)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.with_extension("lock"))?;
        let waiting = async {
            while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                if error != rustix::io::Errno::WOULDBLOCK {
                    return Err(io::Error::from(error));
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Ok(())
        };
        tokio::time::timeout(patience, waiting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let known = read(&path)?;
        Ok(Self { path, known, _lock: lock })
    }

    /// The newest that was in the store.
    pub fn last(&self, source: &str, key: &str) -> Option<&Numbered> {
        self.known.get(source)?.get(key)?.last.as_ref()
    }

    /// One that was begun and of which it is not known whether it came to be there.
    pub fn begun(&self, source: &str, key: &str) -> Option<&Numbered> {
        self.known.get(source)?.get(key)?.begun.as_ref()
    }

    /// Says that one is about to be put.
    pub fn begin(&mut self, (source, key): (&str, &str), one: Numbered) -> io::Result<()> {
        self.of(source, key).begun = Some(one);
        self.write()
    }

    /// One that was begun came to be there.
    pub fn is_there(&mut self, (source, key): (&str, &str), one: Numbered) -> io::Result<()> {
        let known = self.of(source, key);
        known.begun = None;
        if known.last.as_ref().is_none_or(|last| last.sequence < one.sequence) {
            known.last = Some(one);
        }
        self.write()
    }

    /// The newest of every source and key: source, key, number.
    pub fn all(directory: &Path, store: &str) -> io::Result<Vec<(String, String, u64)>> {
        let all = read(&directory.join(format!("seen-{store}.json")))?;
        let of = |(source, keys): (&String, &BTreeMap<String, Known>)| {
            let last =
                |(key, known): (&String, &Known)| Some((source.clone(), key.clone(), known.last.as_ref()?.sequence));
            keys.iter().filter_map(last).collect::<Vec<_>>()
        };
        Ok(all.iter().flat_map(of).collect())
    }

    /// One was seen in the store, whoever put it there. An older one than the newest changes nothing.
    pub fn saw(&mut self, (source, key): (&str, &str), one: Numbered) -> io::Result<()> {
        let known = self.of(source, key);
        if known.last.as_ref().is_some_and(|last| last.sequence >= one.sequence) {
            return Ok(());
        }
        known.last = Some(one);
        self.write()
    }

    fn of(&mut self, source: &str, key: &str) -> &mut Known {
        self.known.entry(source.to_owned()).or_default().entry(key.to_owned()).or_default()
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(&self.known)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

/// A file that is not there knows nothing; a damaged one is an error, as what it knew would be forgotten in silence.
fn read(path: &Path) -> io::Result<BTreeMap<String, BTreeMap<String, Known>>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::other(format!("{} is damaged ({error}); remove it", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn one(sequence: u64) -> Numbered {
        Numbered { sequence, hash: format!("{sequence:064x}"), snapshot: String::new() }
    }

    #[tokio::test]
    async fn the_newest_number_is_kept_and_a_begun_one_too() {
        let directory = tempfile::tempdir().unwrap();
        let of = ("shop", "key");
        let mut numbers = Numbers::lock(directory.path(), "store", WAIT).await.unwrap();
        numbers.is_there(of, one(2)).unwrap();
        numbers.begin(of, one(3)).unwrap();
        drop(numbers);

        let mut numbers = Numbers::lock(directory.path(), "store", WAIT).await.unwrap();
        assert_eq!(numbers.last("shop", "key"), Some(&one(2)));
        assert_eq!(numbers.begun("shop", "key"), Some(&one(3)));
        assert_eq!(numbers.last("shop", "other key"), None);
        numbers.is_there(of, one(1)).unwrap();
        assert_eq!((numbers.last("shop", "key"), numbers.begun("shop", "key")), (Some(&one(2)), None));
        numbers.saw(of, one(1)).unwrap();
        numbers.saw(of, one(5)).unwrap();
        assert_eq!(Numbers::all(directory.path(), "store").unwrap(), [("shop".to_owned(), "key".to_owned(), 5)]);
    }

    #[tokio::test]
    async fn two_at_once_wait_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let held = Numbers::lock(directory.path(), "store", WAIT).await.unwrap();
        let path = directory.path().to_path_buf();
        let other = tokio::spawn(async move { Numbers::lock(&path, "store", WAIT).await.map(|_| ()) });
        tokio::time::sleep(3 * ASK_AGAIN).await;
        assert!(!other.is_finished());
        drop(held);
        other.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_damaged_file_is_not_forgotten_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("seen-store.json"), "{").unwrap();
        let error = Numbers::lock(directory.path(), "store", WAIT).await.unwrap_err().to_string();
        assert!(error.contains("remove it"), "{error}");
    }
}
