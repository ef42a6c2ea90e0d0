//! Alembic's migrations, by its own offline mode (`alembic upgrade base:heads --sql`), which prints the SQL of each.

use std::collections::BTreeMap;

use crate::migration::{ForeignMigration, without_own_transaction};

use super::super::super::Error;
use super::super::super::programs::MigrationPrograms;
use super::{Import, not_possible};

/// Begins the remark above the SQL of a revision.
const UP: &str = "-- Running upgrade ";
const DOWN: &str = "-- Running downgrade ";

impl Import<'_> {
    pub(super) async fn of_alembic(&self) -> Result<Vec<ForeignMigration>, Error> {
        let command = &self.request.command;
        command.refuse_missing()?;
        self.operator.step("asking Alembic for its SQL");
        let built = self.replay.empty().await?;
        let around = (self.replay.dir(), self.operator, self.interrupt);
        let programs = MigrationPrograms::in_shadow(self.project, &self.replay.spec(&built), around).await?;
        let mut texts = Vec::new();
        for words in [["upgrade", "base:heads", "--sql"], ["downgrade", "heads:base", "--sql"]] {
            let all = command.words.iter().cloned().chain(words.map(str::to_owned)).collect();
            let ended = command.with_words(all).run(programs.surroundings(), self.interrupt).await?;
            texts.push(if ended.status.success() { Ok(ended.output) } else { Err(ended.why()) });
        }
        self.replay.drop(built).await?;
        let downs = texts.pop().and_then(Result::ok).map(|text| revisions(&text, DOWN)).unwrap_or_default();
        let ups = match texts.pop() {
            Some(Ok(text)) => revisions(&text, UP),
            Some(Err(why)) => {
                return Err(not_possible(
                    format!("`{} upgrade base:heads --sql` ended with {why}", command.display()),
                    "a revision that asks the database (op.get_bind()) has no SQL; put it behind `if not context.is_offline_mode()`",
                ));
            }
            None => Vec::new(),
        };
        if ups.is_empty() {
            return Err(not_possible("Alembic has no revision".to_owned(), "name the directory of alembic.ini"));
        }
        let downs: BTreeMap<String, String> = downs.into_iter().map(|one| (one.from.join(", "), one.sql)).collect();
        let file_of = |key: &str| self.file_of(key);
        Ok(ups.into_iter().map(|one| one.into_foreign(&downs, &file_of)).collect())
    }

    /// Name and text of the file of a revision.
    fn file_of(&self, key: &str) -> Option<(String, String)> {
        let mut folders = vec![self.request.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                if path.extension().is_none_or(|extension| extension != "py") {
                    continue;
                }
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                if is_revision(&text, key) {
                    return Some((entry.file_name().to_string_lossy().into_owned(), text));
                }
            }
        }
        None
    }
}

/// `revision = '…'`, or with a type as newer templates write it.
fn is_revision(text: &str, key: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with("revision"))
        .any(|line| line.split_once('=').is_some_and(|(_, value)| value.trim().trim_matches(['\'', '"']) == key))
}

/// What it does by Python that offline mode passes over in silence.
fn python_in((file, text): &(String, String)) -> Vec<String> {
    let asks = ["get_bind", "is_offline_mode", "Session("].iter().any(|word| text.contains(word));
    if asks { vec![format!("{file}: Python that asks the database")] } else { Vec::new() }
}

/// The first line of its docstring.
fn message_of(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("\"\"\"")?;
    let line = rest.split("\"\"\"").next()?.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// One revision as the offline mode prints it.
struct Revision {
    from: Vec<String>,
    to: Vec<String>,
    words: String,
    sql: String,
}

/// `-- Running upgrade a, b -> c`, and what follows.
fn revisions(text: &str, start: &str) -> Vec<Revision> {
    let mut found: Vec<Revision> = Vec::new();
    for line in text.lines() {
        if let Some((from, to)) = line.strip_prefix(start).and_then(|rest| rest.split_once("->")) {
            let list = |text: &str| {
                let parts = text.split(',').map(|part| part.trim().to_owned());
                parts.filter(|part| !part.is_empty()).collect::<Vec<_>>()
            };
            // Newer releases print the message behind a comma.
            let (to, words) = to.split_once(", ").unwrap_or((to, ""));
            let (from, to) = (list(from), list(to));
            found.push(Revision { from, to, words: words.trim().to_owned(), sql: String::new() });
        } else if let Some(last) = found.last_mut() {
            last.sql.push_str(line);
            last.sql.push('\n');
        }
    }
    for revision in &mut found {
        revision.sql = without_book_keeping(&revision.sql);
    }
    found
}

/// Without the statements that keep `alembic_version`.
fn without_book_keeping(sql: &str) -> String {
    let is_own = |line: &str| {
        let start = [
            "INSERT INTO alembic_version",
            "UPDATE alembic_version",
            "DELETE FROM alembic_version",
            "DROP TABLE alembic_version",
        ];
        start.iter().any(|start| line.starts_with(start)) || matches!(line.trim(), "BEGIN;" | "COMMIT;")
    };
    let kept: Vec<&str> = sql.lines().filter(|line| !is_own(line)).collect();
    without_own_transaction(kept.join("\n").trim()).trim().to_owned()
}

impl Revision {
    fn into_foreign(
        self,
        downs: &BTreeMap<String, String>,
        file_of: &dyn Fn(&str) -> Option<(String, String)>,
    ) -> ForeignMigration {
        let key = self.to.first().cloned().unwrap_or_default();
        let file = file_of(&key);
        let message = || file.as_ref().and_then(|(_, text)| message_of(text));
        let words = if self.words.is_empty() { message().unwrap_or_else(|| key.clone()) } else { self.words };
        ForeignMigration {
            app: None,
            source: format!("Imported from Alembic: revision {key}"),
            digits: None,
            words,
            up: self.sql,
            down: downs.get(&key).cloned(),
            transaction: (true, true),
            not_carried: file.as_ref().map(python_in).unwrap_or_default(),
            depends: self.from.into_iter().map(|from| (String::new(), from)).collect(),
            replaces: Vec::new(),
            key,
            digests: Vec::new(),
            covers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BEGIN;\n\nCREATE TABLE alembic_version (\n    version_num VARCHAR(32) NOT NULL\n);\n\n\
        -- Running upgrade  -> 1975ea83b712\n\nCREATE TABLE dish (id int);\n\nINSERT INTO alembic_version (version_num) VALUES ('1975ea83b712') RETURNING alembic_version.version_num;\n\n\
        -- Running upgrade 1975ea83b712 -> ae1027a6acf, add a column\n\nALTER TABLE dish ADD COLUMN name text;\n\n\
        UPDATE alembic_version SET version_num='ae1027a6acf' WHERE alembic_version.version_num = '1975ea83b712';\n\nCOMMIT;\n";

    #[test]
    fn revisions_are_read_without_alembics_own_statements() {
        let found = revisions(TEXT, UP);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].from.len(), found[0].to.as_slice()), (0, &["1975ea83b712".to_owned()][..]));
        assert_eq!(found[0].sql, "CREATE TABLE dish (id int);");
        assert_eq!(
            (found[1].words.as_str(), found[1].sql.as_str()),
            ("add a column", "ALTER TABLE dish ADD COLUMN name text;")
        );
    }
}
