//! Before the command may run: does it go to the shadow at all?

use crate::postgres::foreign_trace::ForeignTrace;

use super::super::{Error, Gate, Interrupt, Operator};
use super::django::Django;
use super::django_probe::{Alias, Squashed};
use super::program::{Surroundings, WrappedCommand};

/// How a command is asked where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `[exec] probe`: a program that prints the mark, or at least talks with the shadow.
    Program(Vec<String>),
    /// The settings of a Django project.
    Django(Django),
}

/// What the probe is held against.
pub(super) struct Shadow<'a> {
    /// The mark of the shadow.
    pub(super) mark: &'a str,
    /// Sees which statements others send to it.
    pub(super) trace: &'a ForeignTrace,
    /// Whether the command is cut off from all else.
    pub(super) confined: bool,
}

/// Refuses a command that does not go to the shadow; what of Django's migrations replaces others.
pub(super) async fn refuse_elsewhere(
    command: &WrappedCommand,
    probe: &Probe,
    shadow: &Shadow<'_>,
    (around, operator, interrupt): (Surroundings<'_>, &dyn Operator, &Interrupt),
) -> Result<Vec<Squashed>, Error> {
    match probe {
        Probe::Program(words) => {
            by_program(command, words, shadow, (around, interrupt)).await?;
            Ok(Vec::new())
        }
        Probe::Django(django) => by_settings(command, django, shadow, (around, operator, interrupt)).await,
    }
}

async fn by_program(
    command: &WrappedCommand,
    words: &[String],
    shadow: &Shadow<'_>,
    (around, interrupt): (Surroundings<'_>, &Interrupt),
) -> Result<(), Error> {
    let ended = command.with_words(words.to_vec()).run(around, interrupt).await?;
    if ended.output.contains(shadow.mark) {
        return Ok(());
    }
    let seen = shadow.trace.statements().map_err(log_unreadable)?;
    // It need not know of the mark: who talks with the shadow has its address from the variables.
    if ended.status.success() && !seen.is_empty() {
        return Ok(());
    }
    let lines: String = ended.last_lines.iter().map(|line| format!("\n  | {line}")).collect();
    Err(Gate::Exec {
        message: format!(
            "the probe `{}` did not reach the shadow ({}), so neither would the command:{lines}",
            words.join(" "),
            ended.status
        ),
        hint: "make its settings take the address from the variables of [exec] env, and name in [exec] pass what else \
               it needs"
            .to_owned(),
    }
    .into())
}

pub(super) fn log_unreadable(source: std::io::Error) -> Error {
    Error::File { what: "cannot read the log of the shadow".to_owned(), source }
}

async fn by_settings(
    command: &WrappedCommand,
    django: &Django,
    shadow: &Shadow<'_>,
    (around, operator, interrupt): (Surroundings<'_>, &dyn Operator, &Interrupt),
) -> Result<Vec<Squashed>, Error> {
    let aliases = django.ask(command, around, interrupt).await?;
    let own = refuse_other_place(django, &aliases, command)?;
    if own.mark.as_deref() != Some(shadow.mark) {
        return Err(elsewhere(django, own, command));
    }
    for other in aliases.iter().filter(|one| !one.here) {
        let message = format!("database \"{}\" of the settings is {}, no copy", other.alias, other.place);
        if !shadow.confined {
            return Err(Gate::Exec {
                message: format!("{message}, and nothing keeps the command from it here"),
                hint: "run as root, or where unprivileged namespaces are allowed, so that the rehearsal is cut off"
                    .to_owned(),
            }
            .into());
        }
        operator.warn(&format!("{message}; the rehearsal cannot reach it"));
    }
    Ok(own.squashed.clone())
}

/// Refuses settings that go to another database than the one that the variables name; the alias that goes there.
pub fn refuse_other_place<'a>(
    django: &Django,
    aliases: &'a [Alias],
    command: &WrappedCommand,
) -> Result<&'a Alias, Error> {
    let wanted = django.alias();
    let Some(own) = aliases.iter().find(|one| one.alias == wanted) else {
        let names: Vec<&str> = aliases.iter().map(|one| one.alias.as_str()).collect();
        return Err(Gate::Exec {
            message: format!("the settings have no PostgreSQL database \"{wanted}\""),
            hint: format!("they have: {}", names.join(", ")),
        }
        .into());
    };
    if own.here { Ok(own) } else { Err(elsewhere(django, own, command)) }
}

fn elsewhere(django: &Django, own: &Alias, command: &WrappedCommand) -> Error {
    let names: Vec<&str> = command.templates.iter().map(|(name, _)| name.as_str()).collect();
    Gate::Exec {
        message: format!(
            "database \"{}\" of the settings is {} whatever the variables say: `{}` would go there, so it was not started",
            django.alias(),
            own.place,
            command.display()
        ),
        hint: format!(
            "make the settings take host, port, name, user and password from the variables of [exec] env ({})",
            names.join(", ")
        ),
    }
    .into()
}
