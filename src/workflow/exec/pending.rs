//! Is there anything to do? Asked of the project's own tool before a snapshot is taken, which may take long.
//!
//! What cannot be asked, or is not answered, is found out by the rehearsal as before.

use super::super::{Error, Interrupt, Operator};
use super::ExecRequest;
use super::django::Django;
use super::django_probe::{Alias, Squashed};
use super::probe::{Probe, refuse_other_place};
use super::program::Surroundings;

/// The command that says that nothing is pending in the database of these surroundings; none: something is, or nobody knows.
///
/// # Errors
/// When Django would migrate nothing because its migrations conflict.
pub(super) async fn nothing(
    request: &ExecRequest,
    around: Surroundings<'_>,
    (operator, interrupt): (&dyn Operator, &Interrupt),
) -> Result<Option<String>, Error> {
    let answer = match (&request.pending, &request.probe) {
        (Some(words), _) => by_program(request, words, around, interrupt).await,
        (None, Probe::Django(django)) => {
            let Some(targets) = django.migrates(&request.command.words) else { return Ok(None) };
            match asked(request, (django, &targets), around, interrupt).await {
                Ok(alias) => {
                    alias.refuse_conflicts(django)?;
                    alias.warn(operator);
                    // With nothing to run `migrate` still records what is applied by what it replaces.
                    let recorded = !alias.squashed.iter().any(Squashed::is_unrecorded);
                    Ok((alias.pending == Some(0) && recorded).then(|| "manage.py migrate --plan".to_owned()))
                }
                Err(error) => Err(error),
            }
        }
        (None, Probe::Program(_)) => return Ok(None),
    };
    match answer {
        Ok(nothing) => Ok(nothing),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            operator.step(&format!("whether anything is pending could not be asked: {error}"));
            Ok(None)
        }
    }
}

async fn by_program(
    request: &ExecRequest,
    words: &[String],
    around: Surroundings<'_>,
    interrupt: &Interrupt,
) -> Result<Option<String>, Error> {
    let ended = request.command.with_words(words.to_vec()).run(around, interrupt).await?;
    Ok(ended.status.success().then(|| words.join(" ")))
}

/// The alias at this address, with what is pending there. A target may lie behind what is applied, so it is not asked about.
async fn asked(
    request: &ExecRequest,
    (django, targets): (&Django, &[&str]),
    around: Surroundings<'_>,
    interrupt: &Interrupt,
) -> Result<Alias, Error> {
    let app = match targets {
        [] => Some(""),
        [app] => Some(*app),
        _ => None,
    };
    let aliases = django.ask_about(app, &request.command, around, interrupt).await?;
    refuse_other_place(django, &aliases, &request.command).cloned()
}
