//! Where a new migration goes: its number, its name, its file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::migration::{MigrationId, MigrationSet};

use super::super::Error;

/// Digits of a timestamp such as dbmate's and Rails' `20240101120000`.
const TIMESTAMP_DIGITS: usize = 14;

/// The next migration of an app: its number as wide as those it follows, or the time where those are timestamps.
pub(super) fn next_id(set: &MigrationSet, app: &str, words: &str) -> Result<MigrationId, Error> {
    // Also the numbers of what a squash replaces are taken.
    let own = set.files().map(|one| &one.id).filter(|id| id.app == app);
    let Some(last) = own.max_by_key(|id| id.number()) else { return Ok(id(app, &format!("0001_{words}"))?) };
    let width = last.name.find('_').unwrap_or(4);
    if width == TIMESTAMP_DIGITS {
        let now = OffsetDateTime::now_utc();
        let (date, time) = (now.date(), now.time());
        let stamp = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        let number = stamp.parse::<u64>().unwrap_or_default().max(last.number() + 1);
        return Ok(id(app, &format!("{number:0width$}_{words}"))?);
    }
    Ok(id(app, &format!("{:0width$}_{words}", last.number() + 1))?)
}

fn id(app: &str, name: &str) -> Result<MigrationId, crate::migration::MigrationError> {
    Ok(MigrationId::new(app, name)?)
}

/// Words as they may stand in a migration's name: lower case, digits and underscores, not too long for a file.
pub(super) fn name_of(words: &str) -> String {
    let plain: String =
        words.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let parts: Vec<&str> = plain.split('_').filter(|part| !part.is_empty()).collect();
    let mut name = parts.join("_");
    name.truncate(80);
    name.trim_end_matches('_').to_owned()
}

/// The file of a migration: beside those of its app, or in the folder of that name.
pub(super) fn file_of(dir: &Path, set: &MigrationSet, id: &MigrationId) -> PathBuf {
    let beside = set.iter().find(|one| one.id.app == id.app).and_then(|one| one.path.parent());
    let folder = beside.map_or_else(|| dir.join(&id.app), Path::to_path_buf);
    folder.join(format!("{}.sql", id.name))
}

/// Writes a file that is not there yet, with the folder above it.
pub(in super::super) fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::File { what: format!("cannot write {}", path.display()), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::OutputExists(path.to_owned()));
        }
        file => file.map_err(failed)?,
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::Migration;

    fn set(ids: &[&str]) -> MigrationSet {
        let parse = |id: &&str| Migration::parse(id.parse().unwrap(), PathBuf::from(id), b"-- migrate:up\n").unwrap();
        MigrationSet::new(ids.iter().map(parse).collect()).unwrap()
    }

    #[test]
    fn the_next_number_is_as_wide_as_the_last() {
        let next = |ids: &[&str]| next_id(&set(ids), "menu", "x").unwrap().name;
        assert_eq!(next(&["menu/0009_a", "orders/0044_b"]), "0010_x");
        assert_eq!(next(&["menu/00009_a"]), "00010_x");
        assert_eq!(next(&[]), "0001_x");
        assert!(next(&["menu/20240101120000_a"]).as_str() > "20260101000000_x");
        assert_eq!(next(&["menu/90240101120000_a"]), "90240101120001_x");
    }

    #[test]
    fn names_are_made_of_what_a_name_may_hold() {
        assert_eq!(name_of("Add allergens, and Ö!"), "add_allergens_and");
        assert_eq!(name_of(&"a_".repeat(100)).len(), 79);
    }
}
