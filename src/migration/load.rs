//! Reading a directory of migrations.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::MigrationError;
use super::file::Migration;
use super::id::{MigrationId, is_app_name, is_migration_name};

/// The wished-for schema of an app, which is no migration.
const WISHED_SCHEMA: &str = "schema.sql";
/// The folder of an app's checks, which are no migrations.
const CHECKS: &str = "checks";

/// What lies in a directory; names that begin with a dot are left out.
struct Listing {
    sql_files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

/// Reads all migrations below `dir`: `dir/<app>/NNNN_name.sql`, or those directly in `dir` as one app `default_app`.
pub(super) fn read_directory(dir: &Path, default_app: &str) -> Result<Vec<Migration>, MigrationError> {
    if !dir.is_dir() {
        return Err(MigrationError::NoDirectory { dir: dir.to_owned() });
    }
    let top = list(dir)?;
    if top.sql_files.iter().any(|path| file_name(path) != WISHED_SCHEMA) {
        return read_app(dir, default_app, &above(&[dir]));
    }
    let mut migrations = Vec::new();
    for folder in top.folders.iter().filter(|folder| file_name(folder) != CHECKS) {
        let app = file_name(folder);
        if is_app_name(&app) {
            migrations.extend(read_app(folder, &app, &above(&[folder, dir]))?);
        } else if !list(folder)?.sql_files.is_empty() {
            return Err(MigrationError::AppName { path: folder.clone() });
        }
    }
    Ok(migrations)
}

/// The SQL files in the folders of checks: of each app, and of `dir` itself.
pub(super) fn check_files(dir: &Path) -> Result<Vec<PathBuf>, MigrationError> {
    let mut files = Vec::new();
    for folder in list(dir)?.folders {
        if file_name(&folder) == CHECKS {
            files.extend(list(&folder)?.sql_files);
            continue;
        }
        let checks = folder.join(CHECKS);
        if checks.is_dir() {
            files.extend(list(&checks)?.sql_files);
        }
    }
    Ok(files)
}

/// Where the program of a migration is looked for: in these directories, and in the one above the last.
fn above(dirs: &[&Path]) -> Vec<PathBuf> {
    let last = dirs.last().and_then(|dir| dir.parent());
    let here = |dir: &Path| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.to_owned() };
    dirs.iter().copied().chain(last).map(here).collect()
}

fn read_app(dir: &Path, app: &str, places: &[PathBuf]) -> Result<Vec<Migration>, MigrationError> {
    let listing = list(dir)?;
    for folder in listing.folders.iter().filter(|folder| file_name(folder) != CHECKS) {
        if let Some(path) = list(folder)?.sql_files.into_iter().next() {
            return Err(MigrationError::Misplaced { path });
        }
    }
    listing
        .sql_files
        .into_iter()
        .filter(|path| file_name(path) != WISHED_SCHEMA)
        .map(|path| read(path, app, places))
        .collect()
}

fn read(path: PathBuf, app: &str, places: &[PathBuf]) -> Result<Migration, MigrationError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_migration_name(&name) {
        return Err(MigrationError::FileName { path });
    }
    let id = MigrationId::new(app, &name)?;
    let bytes = fs::read(&path).map_err(|source| MigrationError::Io { path: path.clone(), source })?;
    let mut migration = Migration::parse(id, path, &bytes)?;
    migration.find_programs(places)?;
    Ok(migration)
}

fn list(dir: &Path) -> Result<Listing, MigrationError> {
    let failed = |source| MigrationError::Io { path: dir.to_owned(), source };
    let mut listing = Listing { sql_files: Vec::new(), folders: Vec::new() };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if file_name(&path).starts_with('.') {
            continue;
        }
        if path.is_dir() {
            listing.folders.push(path);
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql")) {
            listing.sql_files.push(path);
        }
    }
    listing.sql_files.sort();
    listing.folders.sort();
    Ok(listing)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "-- migrate:up\n";

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, EMPTY).unwrap();
        }
        dir
    }

    fn names(files: &[&str]) -> Vec<String> {
        let dir = directory(files);
        let mut names: Vec<String> =
            read_directory(dir.path(), "main").unwrap().iter().map(|migration| migration.id.to_string()).collect();
        names.sort();
        names
    }

    fn error(files: &[&str]) -> MigrationError {
        read_directory(directory(files).path(), "main").unwrap_err()
    }

    #[test]
    fn a_folder_is_an_app() {
        let files = [
            "menu/0001_a.sql",
            "menu/schema.sql",
            "menu/checks/no_orphans.sql",
            "menu/README.md",
            "my-app/20240101120000_b.sql",
            ".git/x.sql",
            "notes of mine/a.txt",
            "checks/all.sql",
        ];
        assert_eq!(names(&files), ["menu/0001_a", "my-app/20240101120000_b"]);
        assert!(names(&["README.md"]).is_empty());
    }

    #[test]
    fn files_without_folder_are_one_app() {
        assert_eq!(names(&["20240101120000_a.sql", "schema.sql", "checks/c.sql"]), ["main/20240101120000_a"]);
    }

    #[test]
    fn a_file_that_would_be_passed_over_is_an_error() {
        assert!(matches!(error(&["menu/0001_a.sql", "menu/1_b.sql"]), MigrationError::FileName { .. }));
        assert!(matches!(error(&["menu/0001_a.SQL", "menu/notes.sql"]), MigrationError::FileName { .. }));
        assert!(matches!(error(&["my app/0001_a.sql"]), MigrationError::AppName { .. }));
        assert!(matches!(error(&["menu/old/0001_a.sql"]), MigrationError::Misplaced { .. }));
        assert!(matches!(error(&["0001_a.sql", "menu/0001_a.sql"]), MigrationError::Misplaced { .. }));
    }

    #[test]
    fn a_missing_directory_says_how_to_name_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = read_directory(&dir.path().join("nowhere"), "main").unwrap_err();
        assert!(error.to_string().ends_with("nowhere"), "{error}");
        assert!(error.hint().unwrap().contains("--migrations"));
    }
}
