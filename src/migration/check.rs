//! Checks of an app: queries that must return no row (`<app>/checks/*.sql`).

use std::path::Path;

use super::error::MigrationError;
use super::load::check_files;
use super::splitter::{Statement, split_statements};

/// One file of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its path below the directory of the migrations, such as `menu/checks/no_orphans.sql`.
    pub name: String,
    /// Its queries.
    pub queries: Vec<Statement>,
}

/// Reads the checks of all apps below `dir`, and those in `dir` itself, by name.
pub fn load_checks(dir: &Path) -> Result<Vec<Check>, MigrationError> {
    check_files(dir)?.into_iter().map(|path| read(dir, &path)).collect()
}

fn read(dir: &Path, path: &Path) -> Result<Check, MigrationError> {
    let text = std::fs::read_to_string(path).map_err(|source| MigrationError::Io { path: path.to_owned(), source })?;
    let queries = split_statements(&text, 1).map_err(|error| MigrationError::Split { path: path.to_owned(), error })?;
    let name = path.strip_prefix(dir).unwrap_or(path);
    Ok(Check { name: name.display().to_string(), queries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_of_every_app_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for file in
            ["menu/checks/b.sql", "menu/checks/a.sql", "checks/all.sql", "menu/checks/notes.txt", "menu/0001_a.sql"]
        {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "SELECT 1;\n-- why\nSELECT ';'").unwrap();
        }
        let checks = load_checks(dir.path()).unwrap();
        let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["checks/all.sql", "menu/checks/a.sql", "menu/checks/b.sql"]);
        assert_eq!(checks[0].queries.len(), 2);
        assert_eq!(checks[0].queries[1].line, 3);
    }
}
