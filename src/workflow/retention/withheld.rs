//! Snapshots that were signed and are gone, and of which nobody signed that they were forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fault;
use crate::report::format_list;
use crate::signing::{May, PublicKey};
use crate::snapshot::{self, SnapshotSummary};
use crate::store::{Numbered, Numbers, Store};

use super::super::Error;
use super::tombstones;

/// How long a look waits for another program of this user that remembers something.
const PATIENCE: Duration = Duration::from_secs(2);

/// Numbers that are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The configured name of the database.
    pub source: String,
    /// The key.
    pub key: PublicKey,
    /// Its name.
    pub name: String,
    /// The numbers, in words: `4, 7 to 9`.
    pub numbers: String,
    /// The newest that is there, and the newest that this machine saw.
    pub newest: (u64, u64),
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, name, numbers, newest: (there, seen), .. } = self;
        write!(
            formatter,
            "WITHHELD? of source \"{source}\", what \"{name}\" signed as number {numbers} is gone, and nobody signed that it \
             was forgotten (when you know why: `safe-migrate store keys lost`)"
        )?;
        if seen > there {
            write!(formatter, "; this machine has seen {seen}, so the store may be an old copy")?;
        }
        Ok(())
    }
}

/// Looks for gaps in the numbers of the trusted keys, also behind the newest that this machine has seen; and remembers the
/// newest of now. Nothing where no key counts.
pub async fn withheld(store: &Store, found: &[SnapshotSummary]) -> Result<Vec<Withheld>, Error> {
    let mut there: BTreeMap<(String, PublicKey), BTreeSet<u64>> = BTreeMap::new();
    let mut newest: BTreeMap<(String, PublicKey), Numbered> = BTreeMap::new();
    if !store.trust().is_set() || fault::is_off("off.withheld") {
        return Ok(Vec::new());
    }
    for summary in found {
        // One that is damaged, or that a key signed which counts no longer, is not gone.
        let (statement, hash) = match summary.details().and_then(|details| details.signed_by.clone()) {
            Some(by) => (Some(by.statement), by.hash),
            None => (snapshot::statement(store, &summary.id).await?, String::new()),
        };
        let Some(statement) = statement.filter(|one| one.sequence > 0) else { continue };
        let of = (statement.source.clone(), statement.key);
        there.entry(of.clone()).or_default().insert(statement.sequence);
        if !hash.is_empty() && newest.get(&of).is_none_or(|one| one.sequence < statement.sequence) {
            let one = Numbered { sequence: statement.sequence, hash, snapshot: summary.id.to_string() };
            newest.insert(of, one);
        }
    }
    for tombstone in tombstones::all(store).await? {
        there.entry((tombstone.source, tombstone.key)).or_default().insert(tombstone.sequence);
    }
    let seen = seen(store, &newest).await?;
    for of in seen.keys() {
        there.entry(of.clone()).or_default();
    }
    // Whoever stole a key could number what they like.
    let counted = store.trust().keys.iter().filter(|key| key.only.is_none() && key.may.contains(&May::Snapshot));
    let names = counted.map(|key| (key.key, key.name.as_str()));
    let names: BTreeMap<PublicKey, &str> = names.collect();
    let mut gaps = Vec::new();
    for ((source, key), numbers) in there {
        let Some(name) = names.get(&key) else { continue };
        let known = seen.get(&(source.clone(), key)).copied().unwrap_or_default();
        let there = numbers.last().copied().unwrap_or_default();
        let missing = missing(&numbers, there.max(known));
        if !missing.is_empty() {
            gaps.push(Withheld {
                source,
                key,
                name: (*name).to_owned(),
                numbers: format_list(&missing),
                newest: (there, known),
            });
        }
    }
    Ok(gaps)
}

/// The newest number that this machine has seen of each source and key, with those of now.
async fn seen(
    store: &Store,
    newest: &BTreeMap<(String, PublicKey), Numbered>,
) -> Result<BTreeMap<(String, PublicKey), u64>, Error> {
    let Some(directory) = store.state_dir() else { return Ok(BTreeMap::new()) };
    // Without the lock, which a snapshot that is being published holds: it is replaced whole.
    let before = Numbers::all(directory, store.id()).map_err(|source| Error::File {
        what: "what this machine has seen of the store is not known".to_owned(),
        source,
    })?;
    let remembering = async {
        let mut numbers = Numbers::lock(directory, store.id(), PATIENCE).await?;
        for ((source, key), one) in newest {
            numbers.saw((source, &key.to_string()), one.clone())?;
        }
        Ok::<_, std::io::Error>(())
    };
    if let Err(error) = remembering.await {
        tracing::debug!(%error, "what was seen of the store is not remembered");
    }
    let parsed = before.into_iter().filter_map(|(source, key, sequence)| Some(((source, key.parse().ok()?), sequence)));
    Ok(parsed.collect())
}

/// The numbers from 1 to the newest that are not there, as ranges.
fn missing(there: &BTreeSet<u64>, newest: u64) -> Vec<String> {
    let mut ranges = Vec::new();
    let mut next = 1;
    for number in there.iter().copied().chain([newest.saturating_add(1)]) {
        match number.saturating_sub(next) {
            0 => {}
            1 => ranges.push(next.to_string()),
            _ => ranges.push(format!("{next} to {}", number - 1)),
        }
        next = next.max(number.saturating_add(1));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_named_as_ranges() {
        let ranges = |numbers: &[u64], newest| missing(&numbers.iter().copied().collect(), newest).join(", ");
        assert_eq!(ranges(&[], 0), "");
        assert_eq!(ranges(&[1, 2, 3], 3), "");
        assert_eq!(ranges(&[2, 5, 6], 9), "1, 3 to 4, 7 to 9");
        assert_eq!(ranges(&[], 2), "1 to 2");
        assert_eq!(ranges(&[3], 3), "1 to 2");
    }
}
