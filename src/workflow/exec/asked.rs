//! Questions to a project's own tool about production: they read, and need neither lock nor snapshot.

use crate::postgres::ConnectionSpec;

use super::super::{Error, Interrupt};
use super::ExecRequest;
use super::django::Listed;
use super::probe::Probe;
use super::program::Surroundings;

/// What Django's table says is applied in the database at this address.
///
/// # Errors
/// When the project's settings go to another database, or its `manage.py` does not work.
pub async fn ask(target: &ConnectionSpec, request: &ExecRequest) -> Result<Vec<Listed>, Error> {
    request.command.refuse_missing()?;
    let Probe::Django(django) = &request.probe else { return Ok(Vec::new()) };
    let endpoint = target.endpoint().await?;
    let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: None };
    let never = Interrupt::default();
    let aliases = django.ask(&request.command, around, &never).await?;
    super::probe::refuse_other_place(django, &aliases, &request.command)?;
    match django.listed(&request.command, around, &never).await? {
        Some(listed) => Ok(listed),
        None => Err(Error::Command("`manage.py showmigrations --plan` did not go through".to_owned())),
    }
}

/// What a command of the project prints, with the variables of the database at this address.
pub async fn ask_text(target: &ConnectionSpec, request: &ExecRequest) -> Result<String, Error> {
    let endpoint = target.endpoint().await?;
    let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: None };
    let ended = request.command.run(around, &Interrupt::default()).await?;
    match ended.status.success() {
        true => Ok(ended.output),
        false => Err(Error::Command(format!("`{}` ended with {}", request.command.display(), ended.why()))),
    }
}
