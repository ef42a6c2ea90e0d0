//! The command line: the only layer that prints, prompts or reads the environment.

mod arguments;
mod changed_files;
mod commands;
mod config;
mod context;
mod environment;
mod error;
mod failure;
mod interrupt;
mod logging;
mod operator;
mod output;
mod project;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind as ClapErrorKind;
use clap::{CommandFactory, Parser};

use self::arguments::{Arguments, ColorChoice, GlobalArguments};
use self::commands::Command;
use self::config::Config;
use self::context::Context;
use self::environment::Environment;
use self::error::{CliError, ErrorKind};
use self::interrupt::Interrupt;
use self::operator::{Manners, Progress, TerminalOperator};
use self::output::{Outcome, Style};
use crate::workflow::Operator;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    #[cfg(feature = "faults")]
    let _failpoints = crate::fault::setup();
    let words = environment::command_line();
    if let Some(code) = crate::postgres::provide_walls(&words) {
        return code;
    }
    let environment = Environment::read();
    let code = match Arguments::try_parse_from(&words) {
        Ok(arguments) => run(arguments, environment),
        Err(error) => explain(&error, &words, &environment),
    };
    ExitCode::from(code)
}

/// Runs a parsed command and prints what it came to.
fn run(arguments: Arguments, environment: Environment) -> u8 {
    let Arguments { global: flags, command } = arguments;
    let style = Style { json: flags.json, color: colors(flags.color, &environment, std::io::stderr().is_terminal()) };
    logging::start(flags.verbose, style.color);
    let result = execute(flags, &command, environment, style).map_err(|error| match command.changes_production() {
        // What stopped it before it came near production says so as well.
        true => error.production_unless_said("unchanged"),
        false => error,
    });
    output::print(Some(command.name()), &result, style)
}

fn execute(
    flags: GlobalArguments,
    command: &Command,
    environment: Environment,
    style: Style,
) -> Result<Outcome, CliError> {
    let failed = |message: &str, error: std::io::Error| {
        CliError::new(ErrorKind::Failed, "system", message).caused_by(error).production("unchanged")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("cannot start the worker threads", error))?;
    let directory = environment::current_directory();
    let directory = directory.map_err(|error| failed("cannot find the current directory", error))?;

    let mut config = if command.reads_config() {
        Config::load(&flags, &environment, &directory)?
    } else {
        Config::without_file(&flags, &environment, &directory)?
    };
    if let Some(options) = command.snapshot_options() {
        options.override_config(&mut config.snapshot);
    }
    let interrupt = Interrupt::new();
    let operator = TerminalOperator::new(manners(&flags, style), interrupt.clone());
    config.warnings.iter().for_each(|warning| operator.warn(warning));
    let context = Context { flags, config, environment, directory, operator, interrupt };
    let result = runtime.block_on(async {
        context.interrupt.listen().map_err(|error| failed("cannot listen for signals", error))?;
        command.run(&context).await
    });
    // A read from the terminal that nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result.map_err(|error| after_interrupt(error, context.interrupt.raised()))
}

/// What fails after an interrupt failed because of it; only production that was changed counts more.
fn after_interrupt(mut error: CliError, interrupted: bool) -> CliError {
    if interrupted && matches!(error.kind, ErrorKind::Failed | ErrorKind::Gate | ErrorKind::Snapshot) {
        error.kind = ErrorKind::Interrupted;
    }
    error
}

fn manners(flags: &GlobalArguments, style: Style) -> Manners {
    let stderr = std::io::stderr().is_terminal();
    Manners {
        progress: match (flags.quiet, stderr) {
            (true, _) => Progress::Hidden,
            (false, true) => Progress::Bars,
            (false, false) => Progress::Lines,
        },
        assume_yes: flags.yes,
        can_ask: stderr && std::io::stdin().is_terminal() && !flags.no_input,
        color: style.color,
    }
}

/// Whether stderr is coloured. NO_COLOR counts when it is set to anything but nothing (no-color.org).
fn colors(choice: ColorChoice, environment: &Environment, is_terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            is_terminal && environment.get("NO_COLOR").is_none() && environment.get("TERM") != Some("dumb")
        }
    }
}

/// Prints what clap has to say: help and version on stdout, a wrong command line on stderr.
fn explain(error: &clap::Error, words: &[OsString], environment: &Environment) -> u8 {
    let is_error = error.use_stderr();
    let is_terminal = if is_error { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let rendered = error.render();
    let text = match colors(ColorChoice::Auto, environment, is_terminal) {
        true => rendered.ansi().to_string(),
        false => rendered.to_string(),
    };
    if !is_error {
        return output::write_data(text.as_bytes()).map_or(1, |()| 0);
    }
    // A connection string in the wrong place is quoted by clap.
    output::write_note(&crate::report::redact(&text));
    if words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
        let result = Err(match error.kind() {
            ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => usage_error("a command is missing"),
            _ => usage_error(&rendered.to_string()),
        });
        let document = format!("{:#}\n", output::document(named_command(words).as_deref(), &result));
        // stderr has said it already.
        let _unreadable = output::write_data(document.as_bytes());
    }
    ErrorKind::Usage.exit_code()
}

/// Clap's text as an error: the first paragraph is the message.
fn usage_error(text: &str) -> CliError {
    let text = text.trim_start_matches("error: ");
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    CliError::usage("usage", message).hint("see `safe-migrate --help`")
}

/// The command that a wrong command line meant, if it names one.
fn named_command(words: &[OsString]) -> Option<String> {
    let command = Arguments::command();
    words.iter().skip(1).find_map(|word| command.find_subcommand(word)).map(|command| command.get_name().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_explains_failures_but_never_hides_a_changed_production() {
        let kind = |kind, interrupted| after_interrupt(CliError::new(kind, "x", "x"), interrupted).kind;
        assert_eq!(kind(ErrorKind::Failed, true), ErrorKind::Interrupted);
        assert_eq!(kind(ErrorKind::Gate, true), ErrorKind::Interrupted);
        assert_eq!(kind(ErrorKind::ProductionChanged, true), ErrorKind::ProductionChanged);
        assert_eq!(kind(ErrorKind::Failed, false), ErrorKind::Failed);
    }

    #[test]
    fn colour_is_for_terminals_unless_told_otherwise() {
        let plain = Environment::default();
        let no_color = Environment::from([("NO_COLOR", "1")]);
        assert!(colors(ColorChoice::Auto, &plain, true));
        assert!(!colors(ColorChoice::Auto, &plain, false));
        assert!(!colors(ColorChoice::Auto, &no_color, true));
        assert!(!colors(ColorChoice::Auto, &Environment::from([("TERM", "dumb")]), true));
        assert!(colors(ColorChoice::Always, &no_color, false));
        assert!(!colors(ColorChoice::Never, &plain, true));
    }

    #[test]
    fn a_wrong_command_line_becomes_one_message_and_names_its_command() {
        let words: Vec<OsString> =
            ["safe-migrate", "--json", "snapshot", "veriffy"].into_iter().map(OsString::from).collect();
        let error = Arguments::try_parse_from(&words).expect_err("a wrong command");
        let error = usage_error(&error.render().to_string());
        assert_eq!(error.message, "unrecognized subcommand 'veriffy'");
        assert_eq!(named_command(&words).as_deref(), Some("snapshot"));
        assert_eq!(named_command(&words[..2]), None);
    }
}
