//! `-- migrate:up exec: scripts/fill.py`: a section that is a program.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::MigrationError;

/// The program of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// It and its arguments.
    pub words: Vec<String>,
    /// Where it runs; none: its file was not looked for, as of a text that only the ledger has.
    pub dir: Option<PathBuf>,
    /// Line of the section's marker.
    pub line: u32,
}

/// Reads what follows `exec:`: words, quoted where they hold blanks.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match (quote, words.is_empty()) {
        (Some(_), _) => Err("`exec:`: a quote is never closed".to_owned()),
        (None, true) => Err("`exec:` names no program, such as `exec: scripts/fill.py`".to_owned()),
        (None, false) => Ok(words),
    }
}

impl Program {
    /// The words as they are typed.
    pub fn display(&self) -> String {
        self.words.join(" ")
    }

    /// Looks for its files in these directories: it runs in the first that has one of them. Returns their names and hashes.
    pub(super) fn find(
        &mut self,
        path: &Path,
        directories: &[PathBuf],
    ) -> Result<Vec<(String, String)>, MigrationError> {
        let has = |dir: &PathBuf| self.words.iter().any(|word| dir.join(word).is_file());
        let Some(dir) = directories.iter().find(|dir| has(dir)).or(directories.last()) else { return Ok(Vec::new()) };
        let program = self.words.first().map_or("", String::as_str);
        if program.contains('/') && !dir.join(program).is_file() {
            return Err(MigrationError::NoProgram {
                path: path.to_owned(),
                line: self.line,
                program: program.to_owned(),
            });
        }
        let files = self.words.iter().filter(|word| dir.join(word).is_file());
        let hashed = files.map(|word| {
            let path = dir.join(word);
            let bytes = std::fs::read(&path).map_err(|source| MigrationError::Io { path, source })?;
            Ok((word.clone(), hex::encode(Sha256::digest(bytes))))
        });
        let hashed = hashed.collect::<Result<_, MigrationError>>()?;
        self.dir = Some(dir.clone());
        Ok(hashed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(
            words(" fill.py  --name 'pili pili' \"\" a\"b c\"").unwrap(),
            ["fill.py", "--name", "pili pili", "", "ab c"]
        );
        assert!(words("  ").is_err());
        assert!(words("a 'b").is_err());
    }

    #[test]
    fn a_program_is_found_beside_the_migrations() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("scripts")).unwrap();
        std::fs::create_dir_all(at("migrations/menu")).unwrap();
        std::fs::write(at("scripts/fill.py"), "print(1)").unwrap();
        let directories = [at("migrations/menu"), at("migrations"), root.path().to_owned()];
        let mut program = Program { words: vec!["python3".into(), "scripts/fill.py".into()], dir: None, line: 1 };
        let files = program.find(Path::new("x.sql"), &directories).unwrap();
        assert_eq!((files[0].0.as_str(), program.dir.as_deref()), ("scripts/fill.py", Some(root.path())));
        let mut missing = Program { words: vec!["scripts/gone.py".into()], dir: None, line: 3 };
        let error = missing.find(Path::new("x.sql"), &directories).unwrap_err();
        assert_eq!(error.to_string(), "x.sql:3: there is no program scripts/gone.py");
    }
}
