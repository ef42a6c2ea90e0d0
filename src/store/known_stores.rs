//! Which store this user found at an address before: another one in its place is not taken for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "stores.json";

/// The id of the store that lay at this address, when it was another one than now; else remembers the one of now.
pub(super) fn other_before(directory: &Path, location: &str, id: &str, accepted: bool) -> Option<String> {
    let path = directory.join(FILE);
    let text = fs::read(&path).unwrap_or_default();
    let mut known: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap_or_default();
    match known.get(location) {
        Some(before) if before == id => return None,
        Some(before) if !accepted => return Some(before.clone()),
        _ => {}
    }
    known.insert(location.to_owned(), id.to_owned());
    if let Err(error) = write(&path, &known) {
        tracing::debug!(%error, "which store this is is not remembered");
    }
    None
}

fn write(path: &Path, known: &BTreeMap<String, String>) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(known)?)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_store_at_a_known_address_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let found = |location, id, accepted| other_before(directory.path(), location, id, accepted);
        assert_eq!(found("file:///a", "one", false), None);
        assert_eq!(found("file:///a", "one", false), None);
        assert_eq!(found("file:///b", "two", false), None);
        assert_eq!(found("file:///a", "two", false), Some("one".to_owned()));
        assert_eq!(found("file:///a", "two", true), None);
        assert_eq!(found("file:///a", "two", false), None);
    }
}
