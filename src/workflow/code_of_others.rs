//! Whether functions of others may run with our rights where a schema and its rows are loaded.
//!
//! They would in each check, generated column, partition key and domain (`postgres::foreign_code`), and who may make a table in
//! production would act as the superuser who restores it.

use std::path::Path;

use crate::postgres::foreign_code::{self, ForeignCode, FoundCode, TrustedOwners};
use crate::postgres::loaders::Loaders;
use crate::postgres::{Programs, Session, archive};

use super::{Confirmation, Error, Gate, Operator, Project};

/// Whose functions may run.
#[derive(Clone, Debug)]
pub enum CodeOfOthers {
    /// Anybody's: the server is behind walls, and is thrown away.
    BehindWalls,
    /// Those of these owners.
    OnlyOf(TrustedOwners),
    /// Also those that run while rows come in: each table is loaded by a login that can do what its owner can.
    ByLogins(TrustedOwners, Loaders),
    /// What there is, which the operator was told and accepted.
    Accepted,
}

impl CodeOfOthers {
    /// Refuses an archive, of which these entries are chosen, that would run others.
    pub async fn refuse(&self, programs: &Programs, archive: &Path, list: Option<&Path>) -> Result<(), Error> {
        let (trusted, by_logins) = match self {
            Self::BehindWalls | Self::Accepted => return Ok(()),
            Self::OnlyOf(trusted) => (trusted, false),
            Self::ByLogins(trusted, _) => (trusted, true),
        };
        let found = of_archive(programs, archive, list, trusted).await?;
        if found.code.is_empty() || (by_logins && found.is_loaded_by_owners()) {
            return Ok(());
        }
        Err(Gate::ForeignCode(found.code).into())
    }
}

/// Roles that the operator trusts, besides the server's superusers: those that were named, and the one that migrates.
pub fn named(project: &Project) -> Vec<String> {
    project.trusted_owners.iter().cloned().chain([project.target.user().to_owned()]).collect()
}

/// Whose functions may run on the project's own server.
pub async fn trusted(project: &Project, session: &Session) -> Result<TrustedOwners, Error> {
    Ok(TrustedOwners::read(session, &named(project)).await?)
}

/// What loading an archive would run.
pub async fn of_archive(
    programs: &Programs,
    archive: &Path,
    list: Option<&Path>,
    trusted: &TrustedOwners,
) -> Result<FoundCode, Error> {
    let script = archive::script(programs, archive, list).await?;
    foreign_code::of_script(&script, trusted)
        .map_err(|why| Error::RestoreRefused(format!("the schema of the snapshot cannot be looked through: {why}")))
}

/// Takes the reason that was given, or asks a person; `--yes` is no answer.
pub fn accept(found: &[ForeignCode], reason: Option<&str>, operator: &dyn Operator) -> Result<(), Error> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: String = found.iter().map(|code| format!("\n  {code}")).collect();
    if let Some(reason) = reason {
        operator.warn(&format!("functions of others run with the rights of this run ({reason}):{lines}"));
        return Ok(());
    }
    let question = format!("functions of roles that are not trusted would run with your rights:{lines}\nlet them?");
    match operator.confirm_typed(&question) {
        Confirmation::Yes => Ok(()),
        Confirmation::No => Err(Gate::NotConfirmed.into()),
        Confirmation::CannotAsk => Err(Gate::ForeignCode(found.to_vec()).into()),
    }
}
