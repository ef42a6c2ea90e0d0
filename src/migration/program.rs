//! `-- migrate:up exec: scripts/fill.py`: a section that is a program.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::error::MigrationError;

/// What stands in the place of the hash of a file that is not there.
const MISSING: &str = "missing";

/// The program of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// It and its arguments.
    pub words: Vec<String>,
    /// Where it runs; none: its file was not looked for, as of a text that only the ledger has.
    pub dir: Option<PathBuf>,
    /// Its files, by the words that name them, with the SHA-256 that they had when the migration was read.
    pub files: Vec<(String, String)>,
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
    pub(super) fn find(&mut self, directories: &[PathBuf]) -> Result<Vec<(String, String)>, MigrationError> {
        let has = |dir: &PathBuf| self.words.iter().any(|word| dir.join(word).is_file());
        let Some(dir) = directories.iter().find(|dir| has(dir)).or(directories.last()) else { return Ok(Vec::new()) };
        let files = self.words.iter().filter(|word| dir.join(word).is_file());
        let hashed = files.map(|word| {
            let path = dir.join(word);
            let bytes = std::fs::read(&path).map_err(|source| MigrationError::Io { path, source })?;
            Ok((word.clone(), hex::encode(Sha256::digest(bytes))))
        });
        let mut hashed: Vec<(String, String)> = hashed.collect::<Result<_, MigrationError>>()?;
        // Of an applied migration that is a change of it; one that is to run is refused when it is planned.
        let program = self.words.first().filter(|program| program.contains('/') && !dir.join(program).is_file());
        if let Some(program) = program {
            hashed.push((program.clone(), MISSING.to_owned()));
        }
        self.dir = Some(dir.clone());
        self.files.clone_from(&hashed);
        Ok(hashed)
    }

    /// The program itself, when it is not there.
    pub fn missing(&self) -> Option<&str> {
        self.files.iter().find(|(_, hash)| hash == MISSING).map(|(program, _)| program.as_str())
    }

    /// A file of it that is another one than when the migration was read: it is not what was rehearsed.
    pub fn changed_file(&self) -> Option<&str> {
        let dir = self.dir.as_ref()?;
        let is_changed = |(word, hash): &&(String, String)| {
            let now = std::fs::read(dir.join(word)).map(|bytes| hex::encode(Sha256::digest(bytes)));
            now.map_or(true, |now| now != *hash)
        };
        self.files.iter().find(is_changed).map(|(word, _)| word.as_str())
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
        let words = vec!["python3".into(), "scripts/fill.py".into()];
        let mut program = Program { words, dir: None, files: vec![], line: 1 };
        let files = program.find(&directories).unwrap();
        assert_eq!((files[0].0.as_str(), program.dir.as_deref()), ("scripts/fill.py", Some(root.path())));
        assert_eq!(program.changed_file(), None);
        std::fs::write(at("scripts/fill.py"), "print(2)").unwrap();
        assert_eq!(program.changed_file(), Some("scripts/fill.py"));
        let mut missing = Program { words: vec!["scripts/gone.py".into()], dir: None, files: vec![], line: 3 };
        missing.find(&directories).unwrap();
        assert_eq!((missing.missing(), program.missing()), (Some("scripts/gone.py"), None));
    }
}
