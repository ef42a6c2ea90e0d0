//! Questions to a project's own tool about production: they read, and need neither lock nor snapshot.

use crate::postgres::ConnectionSpec;

use super::super::{Error, Interrupt, Operator};
use super::ExecRequest;
use super::django::Listed;
use super::django_probe::Squashed;
use super::probe::Probe;
use super::program::Surroundings;

/// A Django project's history.
#[derive(Debug, Default)]
pub struct Asked {
    /// What its table says is applied.
    pub listed: Vec<Listed>,
    /// Those that replace others.
    pub squashed: Vec<Squashed>,
}

/// What Django's table says is applied in the database at this address; what Django passes over is said.
///
/// # Errors
/// When the project's settings go to another database, or its `manage.py` does not work.
pub async fn ask(target: &ConnectionSpec, request: &ExecRequest, operator: &dyn Operator) -> Result<Asked, Error> {
    request.command.refuse_missing()?;
    let Probe::Django(django) = &request.probe else { return Ok(Asked::default()) };
    let endpoint = target.endpoint().await?;
    let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: None };
    let never = Interrupt::default();
    let aliases = django.ask(&request.command, around, &never).await?;
    let own = super::probe::refuse_other_place(django, &aliases, &request.command)?;
    own.warn(operator);
    own.warn_of_conflicts(django, operator);
    match django.listed(&request.command, around, &never).await? {
        Some(listed) => Ok(Asked { listed, squashed: own.squashed.clone() }),
        None => Err(Error::Command("`manage.py showmigrations --plan` did not go through".to_owned())),
    }
}

/// The SQL of these migrations, app and name.
///
/// # Errors
/// When Django cannot tell it.
pub async fn ask_sql(
    target: &ConnectionSpec,
    request: &ExecRequest,
    wanted: &[(String, String)],
) -> Result<Vec<String>, Error> {
    let Probe::Django(django) = &request.probe else { return Ok(Vec::new()) };
    let endpoint = target.endpoint().await?;
    let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: None };
    django.sql(&request.command, wanted, around).await
}
