//! `make APP --empty`: a file to be filled in.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::migration::{MigrationId, MigrationSet, nearest};

use super::super::Error;
use super::place::{file_of, name_of, next_id, write_new};

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct EmptyRequest {
    /// App; a new one is made unless it resembles one there is.
    pub app: String,
    /// Words of the name; none: the time.
    pub name: Option<String>,
    /// Whether to write nothing.
    pub dry_run: bool,
}

/// Writes the file; its id, its path and its text.
pub fn empty(
    (dir, default_app): (&Path, &str),
    request: &EmptyRequest,
) -> Result<(MigrationId, PathBuf, String), Error> {
    let set = MigrationSet::load(dir, default_app)?;
    if !set.apps().contains(request.app.as_str())
        && let Some(meant) = nearest(&request.app, set.apps()).first()
    {
        return Err(Error::NotPossible {
            message: format!("there is no app `{}`", request.app),
            hint: format!(
                "did you mean `{meant}`? A new app begins with a folder of that name with a file 0001_initial.sql in it"
            ),
        });
    }
    let flat = set.iter().any(|one| one.path.parent() == Some(dir));
    if flat && request.app != default_app {
        return Err(Error::NotPossible {
            message: format!("{} holds the migrations of the one app `{default_app}`", dir.display()),
            hint: format!("safe-migrate make {default_app} --empty"),
        });
    }
    let words = match request.name.as_deref().map(name_of) {
        Some(words) if words.is_empty() => {
            return Err(Error::NotPossible {
                message: "the name holds no letter and no digit".to_owned(),
                hint: "for example: --name add_allergens".to_owned(),
            });
        }
        Some(words) => words,
        None => {
            let now = OffsetDateTime::now_utc();
            let (month, minute) = (u8::from(now.month()), now.minute());
            format!("auto_{:04}{month:02}{:02}_{:02}{minute:02}", now.year(), now.day(), now.hour())
        }
    };
    let id = next_id(&set, &request.app, &words)?;
    let leaf = set.leaves_of(&request.app);
    let depends = match leaf.as_slice() {
        [] => String::new(),
        leaves => {
            let names: Vec<String> = leaves.iter().map(ToString::to_string).collect();
            format!("-- depends: {}\n", names.join(", "))
        }
    };
    let text = format!(
        "-- What this changes, and why.\n{depends}\
         -- Other lines that may stand here: run-before, breaking, allow, lock-timeout, statement-timeout.\n\
         -- migrate:up\n\n\n-- migrate:down\n\n"
    );
    let path = file_of(dir, &set, &id);
    if !request.dry_run {
        write_new(&path, &text)?;
    }
    Ok((id, path, text))
}
