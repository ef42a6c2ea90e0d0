//! The wished schemas: `schema.sql` of each app, loaded into a private database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::migration::{Statement, split_statements};
use crate::postgres::definitions::Address;
use crate::postgres::{DatabaseError, MigratingSession, Session};

use super::super::super::Error;

/// Errors of a statement that something it needs is not there yet: column, function, table, object, schema.
const NOT_YET: [&str; 6] = ["42703", "42883", "42P01", "42704", "3F000", "42830"];
/// Errors of a statement whose object is there already: table, object, function, column, schema.
const ALREADY: [&str; 5] = ["42P07", "42710", "42723", "42701", "42P06"];

/// The file of an app's wished schema.
#[derive(Clone, Debug)]
pub(super) struct WishedFile {
    pub(super) app: String,
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Statements of one source, in the order of its text.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) app: String,
    /// None: what the migrations of an app without a wished schema build.
    pub(super) path: Option<PathBuf>,
    pub(super) statements: Vec<Statement>,
}

/// The `schema.sql` files below a directory, in the order of their apps.
pub(super) fn files(dir: &Path, default_app: &str) -> Result<Vec<WishedFile>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![(default_app.to_owned(), dir.to_owned())];
    let failed = |source| Error::File { what: format!("cannot read {}", dir.display()), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            folders.push((name, entry.path()));
        }
    }
    folders.sort();
    for (app, folder) in folders {
        let path = folder.join("schema.sql");
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path)
            .map_err(|source| Error::File { what: format!("cannot read {}", path.display()), source })?;
        let text = String::from_utf8(bytes).map_err(|_| Error::NotPossible {
            message: format!("{} is not UTF-8", path.display()),
            hint: "save it as UTF-8".to_owned(),
        })?;
        found.push(WishedFile { app, path, text: text.trim_start_matches('\u{feff}').replace("\r\n", "\n") });
    }
    Ok(found)
}

impl WishedFile {
    /// Its statements.
    pub(super) fn source(&self) -> Result<Source, Error> {
        let statements = split_statements(&self.text, 1).map_err(|error| Error::NotPossible {
            message: format!("{}:{}: {error}", self.path.display(), error.line()),
            hint: "schema.sql holds plain CREATE statements; what is there now is altered by the migrations".to_owned(),
        })?;
        if let Some(control) = statements.iter().find(|one| is_control(one)) {
            return Err(Error::NotPossible {
                message: format!(
                    "{}:{}: `{}` has no place in a schema",
                    self.path.display(),
                    control.line,
                    control.text
                ),
                hint: "schema.sql holds plain CREATE statements".to_owned(),
            });
        }
        Ok(Source { app: self.app.clone(), path: Some(self.path.clone()), statements })
    }
}

impl Source {
    /// The places (`file:line: CREATE SUBSCRIPTION …`) of what leads to other servers, which no migration is written for.
    pub(super) fn left_out(&self) -> Vec<String> {
        let words =
            |one: &Statement| one.tokens().iter().take(3).map(|word| word.to_ascii_uppercase()).collect::<Vec<_>>();
        let path = self.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let found = self.statements.iter().filter_map(|one| {
            let what = match words(one).join(" ").as_str() {
                "CREATE USER MAPPING" => "CREATE USER MAPPING",
                words if words.starts_with("CREATE SUBSCRIPTION ") => "CREATE SUBSCRIPTION",
                _ => return None,
            };
            Some(format!("{path}:{}: {what}", one.line))
        });
        found.collect()
    }
}

fn is_control(statement: &Statement) -> bool {
    let first = statement.tokens().first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    ["BEGIN", "COMMIT", "ROLLBACK", "START", "END", "ABORT"].contains(&first.as_str())
}

/// Which app made an object: OIDs are given out in order, so those between two marks were made between them.
#[derive(Debug, Default)]
pub(super) struct Makers {
    ranges: BTreeMap<u32, String>,
}

impl Makers {
    /// From here on `app` makes objects. `session` is a superuser's on the same server.
    pub(super) async fn mark(&mut self, session: &Session, app: &str) -> Result<(), DatabaseError> {
        // Making a large object takes the next OID of the server; nothing else says which that is.
        let row = session
            .query_one(
                "WITH made AS (SELECT pg_catalog.lo_create(0) AS oid) SELECT oid, pg_catalog.lo_unlink(oid) FROM made",
                &[],
            )
            .await?;
        self.ranges.insert(row.get(0), app.to_owned());
        Ok(())
    }

    /// Writes them down in the database of a kept server, beside the ledger, so in no dump.
    pub(super) async fn store(&self, session: &Session) -> Result<(), DatabaseError> {
        session.batch_execute("CREATE TABLE safe_migrate.maker (first_oid oid PRIMARY KEY, app text NOT NULL)").await?;
        for (first, app) in &self.ranges {
            session.query("INSERT INTO safe_migrate.maker VALUES ($1, $2) RETURNING app", &[first, app]).await?;
        }
        Ok(())
    }

    /// What was written down.
    pub(super) async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let rows = session.query("SELECT first_oid, app FROM safe_migrate.maker", &[]).await?;
        Ok(Self { ranges: rows.iter().map(|row| (row.get(0), row.get(1))).collect() })
    }

    /// The app that made the object of this address.
    pub(super) fn of(&self, address: Address) -> Option<&str> {
        self.ranges.range(..=address.1).next_back().map(|(_, app)| app.as_str())
    }
}

/// Loads all statements. One that needs something which is not there yet is tried again after the others.
pub(super) async fn load(own: &MigratingSession, superuser: &Session, sources: &[Source]) -> Result<Makers, Error> {
    let mut makers = Makers::default();
    own.set_theirs().await?;
    let mut left: Vec<(&Source, &Statement)> =
        sources.iter().flat_map(|source| source.statements.iter().map(move |one| (source, one))).collect();
    while !left.is_empty() {
        let mut waiting = Vec::new();
        let mut first_failure = None;
        let before = left.len();
        let mut current: Option<&str> = None;
        for (source, statement) in left {
            if current != Some(source.app.as_str()) {
                makers.mark(superuser, &source.app).await?;
                current = Some(&source.app);
            }
            let before = objects_before(superuser, statement).await?;
            let Err(error) = own.batch_execute(&statement.text).await else {
                if let Some(before) = before {
                    refuse_taken((source, statement), &before, (superuser, &makers, sources)).await?;
                }
                continue;
            };
            let error = DatabaseError::from(&error);
            if !NOT_YET.iter().any(|code| error.has_sqlstate(code)) {
                return Err(refused(source, statement, &error, (superuser, &makers, sources)).await);
            }
            waiting.push((source, statement));
            first_failure.get_or_insert((source, statement, error));
        }
        if waiting.len() == before
            && let Some((source, statement, error)) = first_failure
        {
            return Err(refused(source, statement, &error, (superuser, &makers, sources)).await);
        }
        left = waiting;
    }
    Ok(makers)
}

/// What is there before a statement that would take something that is there for its own: `OR REPLACE`, `IF NOT EXISTS`.
/// Extensions and schemas are shared.
async fn objects_before(session: &Session, statement: &Statement) -> Result<Option<Objects>, DatabaseError> {
    let words: Vec<String> = statement.tokens().iter().take(6).map(|word| word.to_ascii_uppercase()).collect();
    let has = |phrase: &[&str]| words.windows(phrase.len()).any(|some| some == phrase);
    let is_shared = has(&["EXTENSION"]) || has(&["SCHEMA"]);
    match !is_shared && (has(&["OR", "REPLACE"]) || has(&["IF", "NOT", "EXISTS"])) {
        true => Ok(Some(objects(session).await?)),
        false => Ok(None),
    }
}

/// Version (`xmin`) of each object by its address.
type Objects = BTreeMap<Address, String>;

async fn objects(session: &Session) -> Result<Objects, DatabaseError> {
    let sql = "SELECT 1259::oid, oid, xmin::text FROM pg_catalog.pg_class WHERE oid >= 16384 AND relkind NOT IN ('v', 'm')
               UNION ALL SELECT 1259, ev_class, xmin::text FROM pg_catalog.pg_rewrite WHERE ev_class >= 16384 AND rulename = '_RETURN'
               UNION ALL SELECT 1255, oid, xmin::text FROM pg_catalog.pg_proc WHERE oid >= 16384
               UNION ALL SELECT 2620, oid, xmin::text FROM pg_catalog.pg_trigger WHERE oid >= 16384";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

/// Fails when a statement changed what another app had made, or made nothing because it is there.
async fn refuse_taken(
    (source, statement): (&Source, &Statement),
    before: &Objects,
    (session, makers, sources): (&Session, &Makers, &[Source]),
) -> Result<(), Error> {
    let after = objects(session).await?;
    let taken = after.iter().find(|(address, version)| before.get(address).is_some_and(|old| old != *version));
    let place = source
        .path
        .as_ref()
        .map_or_else(|| source.app.clone(), |path| format!("{}:{}", path.display(), statement.line));
    let Some((address, _)) = taken.filter(|(address, _)| makers.of(**address) != Some(&source.app)) else {
        if after.len() > before.len() || taken.is_some() {
            return Ok(());
        }
        return Err(Error::NotPossible {
            message: format!("{place}: what it makes is there already"),
            hint: "an object belongs to one app and stands in its schema.sql once".to_owned(),
        });
    };
    let other = makers.of(*address).unwrap_or_default();
    let file = sources.iter().find(|one| one.app == other).and_then(|one| one.path.as_ref());
    let whose = file.map_or(format!("the migrations of `{other}`"), |path| path.display().to_string());
    Err(Error::NotPossible {
        message: format!("{place}: it replaces what is another app's"),
        hint: format!("{whose} makes it already; an object belongs to one app"),
    })
}

async fn refused(
    source: &Source,
    statement: &Statement,
    error: &DatabaseError,
    (superuser, makers, sources): (&Session, &Makers, &[Source]),
) -> Error {
    let line = error.position.map_or(statement.line, |position| statement.line_of_offset(position));
    let place = match &source.path {
        Some(path) => format!("{}:{line}", path.display()),
        None => format!("what the migrations of `{}` build", source.app),
    };
    let mut hint = "schema.sql holds plain CREATE statements that load into an empty database".to_owned();
    if ALREADY.iter().any(|code| error.has_sqlstate(code))
        && let Some(other) = maker_of_named(&error.message, superuser, makers).await
    {
        let file = sources.iter().find(|one| one.app == other).and_then(|one| one.path.as_ref());
        let whose = file.map_or(format!("the migrations of `{other}`"), |path| path.display().to_string());
        hint = match other == source.app {
            true => format!("{whose} makes it twice"),
            false => format!("{whose} makes it already; an object belongs to one app"),
        };
    } else if NOT_YET.iter().any(|code| error.has_sqlstate(code)) {
        hint = "nothing in any schema.sql makes what it needs; tables of another app are used as they are there"
            .to_owned();
    }
    let more = [&error.detail, &error.hint].into_iter().flatten().map(|one| format!("\n{one}")).collect::<String>();
    Error::NotPossible { message: format!("{place}: {}{more}", error.message), hint }
}

/// The app of the object whose name stands in quotes in a message such as `relation "x" already exists`.
async fn maker_of_named(message: &str, session: &Session, makers: &Makers) -> Option<String> {
    let name = message.split('"').nth(1)?;
    let sql = "SELECT 1259::oid, oid FROM pg_catalog.pg_class WHERE relname = $1 AND oid >= 16384
               UNION ALL SELECT 1247, oid FROM pg_catalog.pg_type WHERE typname = $1 AND oid >= 16384
               UNION ALL SELECT 1255, oid FROM pg_catalog.pg_proc WHERE proname = $1 AND oid >= 16384
               UNION ALL SELECT 2606, oid FROM pg_catalog.pg_constraint WHERE conname = $1
               UNION ALL SELECT 2615, oid FROM pg_catalog.pg_namespace WHERE nspname = $1 AND oid >= 16384";
    let row = session.query_opt(&format!("{sql} LIMIT 1"), &[&name]).await.ok()??;
    makers.of((row.get(0), row.get(1))).map(str::to_owned)
}

/// Names that PostgreSQL would cut after 63 bytes: with the place of each.
pub(super) fn too_long(file: &WishedFile, statements: &[Statement]) -> Option<Error> {
    let mut seen = BTreeSet::new();
    for statement in statements {
        for word in statement.tokens() {
            let is_name = !word.contains('\'') && word.starts_with(|c: char| c == '"' || c.is_alphabetic() || c == '_');
            let plain = word.trim_matches('"');
            if is_name && plain.len() > 63 && seen.insert(plain) {
                return Some(Error::NotPossible {
                    message: format!(
                        "{}:{}: the name {plain} has {} bytes; PostgreSQL keeps 63 of them",
                        file.path.display(),
                        statement.line,
                        plain.len()
                    ),
                    hint: "choose a shorter name".to_owned(),
                });
            }
        }
    }
    None
}
