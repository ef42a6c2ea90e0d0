//! `init`: a commented `safe-migrate.toml` to start from.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cli::config::{DEFAULT_MIGRATIONS, FILE_NAME, KeyFile, Settings, render_template};
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::postgres::{Ledger, catalog};
use crate::report::{redact, strip_password};
use crate::workflow::{Error, Operator};

/// Variables of libpq that say which database is meant; without one of them nothing is connected to by chance.
const NAMING_VARIABLES: [&str; 6] = ["PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER"];
/// How long `init` waits for the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// Write a commented safe-migrate.toml
///
/// On a terminal it asks for what the options do not say. A password is never
/// written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate init
  safe-migrate init --database postgres://deploy@db.example/shop --yes
  safe-migrate init --migrations db/migrations --force")]
pub(crate) struct Args {
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let path = context.directory.join(context.flags.config.as_deref().unwrap_or(Path::new(FILE_NAME)));
    if !args.force && path.exists() {
        return Err(already_there(&path));
    }
    let mut settings = settings(context, &path)?;
    let key = signing_key(context);
    settings.key.clone_from(&key);
    // With its password, which the file does not get.
    let url = settings.url.clone().or_else(|| context.config.database_url().map(str::to_owned));
    write(&path, &render_template(&without_password(context, settings)), args.force)?;
    let advice = advice(inspect_database(context, url.as_deref()).await?);
    let keyed = match &key {
        None => String::new(),
        Some((public, _)) => format!(
            "snapshots are signed by {public}; to believe no others, remove the # before `keys` in [trust] of the file; \
             `safe-migrate store keys` says what to keep off this host\n"
        ),
    };
    let text = format!("wrote {}\n{keyed}next: {advice}\n", path.display());
    Ok(Outcome::new(text, json!({ "file": path, "key": key.map(|(public, _)| public), "next": advice })))
}

/// The key of this user, made where there is none, and the name of this machine. A host that cannot keep one has none.
fn signing_key(context: &Context) -> Option<(String, String)> {
    let file = KeyFile::of(&context.environment);
    file.path.as_ref()?;
    let made = file.read().and_then(|key| key.map_or_else(|| file.create(), Ok));
    match made {
        Ok(key) => Some((key.public().to_string(), context.environment.host())),
        Err(error) => {
            context.operator.warn(&format!("snapshots will not be signed: {}", error.message));
            None
        }
    }
}

/// What `init` found in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatabaseState {
    /// Not looked at, or not reachable yet.
    Unknown,
    /// No tables: the first migration makes the first table.
    Empty,
    /// Tables, but no ledger that says where they came from.
    TablesWithoutLedger,
    /// Under our care already.
    HasLedger,
}

/// Looks at the database where one is named; a database that cannot be looked at is a warning.
async fn inspect_database(context: &Context, url: Option<&str>) -> Result<DatabaseState, CliError> {
    if url.is_none() && !NAMING_VARIABLES.iter().any(|name| context.environment.get(name).is_some()) {
        return Ok(DatabaseState::Unknown);
    }
    let look = async { Ok(tokio::time::timeout(PATIENCE, look(context, url)).await) };
    let reason = match context.unless_interrupted(look).await? {
        Ok(Ok(state)) => return Ok(state),
        Ok(Err(error)) => error.causes().into_iter().fold(error.message, |text, cause| format!("{text}: {cause}")),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    context.operator.warn(&redact(&format!("the database was not looked at: {reason}")));
    Ok(DatabaseState::Unknown)
}

async fn look(context: &Context, url: Option<&str>) -> Result<DatabaseState, CliError> {
    let session = context.connection(url)?.connect("safe-migrate init").await.map_err(Error::from)?;
    if Ledger::read(&session).await.map_err(Error::from)?.present {
        return Ok(DatabaseState::HasLedger);
    }
    let tables = catalog::tables(&session).await.map_err(Error::from)?;
    Ok(if tables.is_empty() { DatabaseState::Empty } else { DatabaseState::TablesWithoutLedger })
}

fn advice(state: DatabaseState) -> &'static str {
    match state {
        DatabaseState::Unknown => "`safe-migrate doctor` checks that everything is in place",
        DatabaseState::Empty => "put the first migration into the migrations directory, then `safe-migrate rehearse`",
        DatabaseState::TablesWithoutLedger => {
            "the database has tables but no ledger; `safe-migrate snapshot create` protects it as it is, \
             and `safe-migrate status` shows which migrations would be applied to it"
        }
        DatabaseState::HasLedger => "`safe-migrate status` shows what is applied and what is pending",
    }
}

/// The settings from the options, and on a terminal from the operator.
fn settings(context: &Context, path: &Path) -> Result<Settings, CliError> {
    let flags = &context.flags;
    let beside_file = |given: &Path| match path.parent() {
        Some(parent) if parent == context.directory => given.to_path_buf(),
        _ => context.directory.join(given),
    };
    let store = flags.store.as_ref().map(|store| match store.contains("://") {
        true => store.clone(),
        false => beside_file(Path::new(store)).display().to_string(),
    });
    let settings = Settings {
        url: flags.database.clone(),
        source: flags.source.clone(),
        migrations: flags.migrations.as_deref().map(|dir| beside_file(dir).display().to_string()),
        store,
        key: None,
    };
    if context.operator.can_ask() { ask(context, settings) } else { Ok(settings) }
}

fn ask(context: &Context, given: Settings) -> Result<Settings, CliError> {
    let question = |value: Option<String>, prompt: String| match value {
        Some(value) => Ok(Some(value)),
        None => match context.operator.ask(&format!("{prompt}: ")) {
            Some(answer) => Ok((!answer.is_empty()).then_some(answer)),
            None => Err(CliError::interrupted()),
        },
    };
    let dir = likely_migrations(&context.directory);
    Ok(Settings {
        url: question(given.url, "Database URL (empty: from the environment)".to_string())?,
        source: question(given.source, "Name for its snapshots (empty: the database's name)".to_string())?,
        migrations: question(given.migrations, format!("Migrations directory (empty: {dir})"))?
            .or_else(|| (dir != DEFAULT_MIGRATIONS).then(|| dir.to_string())),
        store: question(
            given.store,
            "Store, s3://BUCKET/PREFIX or a directory (empty: .safe-migrate/store)".to_string(),
        )?,
        key: given.key,
    })
}

/// Where this project's migrations seem to lie already.
fn likely_migrations(directory: &Path) -> &'static str {
    let candidates = [DEFAULT_MIGRATIONS, "db/migrations"];
    candidates.into_iter().find(|candidate| directory.join(candidate).is_dir()).unwrap_or(DEFAULT_MIGRATIONS)
}

fn without_password(context: &Context, mut settings: Settings) -> Settings {
    if let Some((url, true)) = settings.url.as_deref().map(strip_password) {
        context.operator.warn(
            "the password was not written; put it into PGPASSWORD or a passfile, \
             or name a program that prints it as [database] password_command",
        );
        settings.url = Some(url);
    }
    settings
}

fn write(path: &Path, text: &str, overwrite: bool) -> Result<(), CliError> {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    // create_new: a file that appeared since the check is not overwritten either.
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    // It can name programs to run.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => CliError::new(ErrorKind::Failed, "config-unwritable", format!("cannot write {}", path.display()))
            .caused_by(error),
    })
}

fn already_there(path: &Path) -> CliError {
    CliError::usage("config-exists", format!("{} is there already", path.display()))
        .hint("edit it, or overwrite it with `safe-migrate init --force`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::GlobalArguments;
    use crate::cli::config::Config;
    use crate::cli::environment::Environment;
    use crate::cli::interrupt::Interrupt;
    use crate::cli::operator::{Manners, Progress, TerminalOperator};

    fn context(directory: &Path, flags: GlobalArguments) -> Context {
        let environment = Environment::default();
        let interrupt = Interrupt::new();
        let manners = Manners { progress: Progress::Hidden, assume_yes: false, can_ask: false, color: false };
        Context {
            config: Config::without_file(&flags, &environment, directory).unwrap(),
            flags,
            environment,
            directory: directory.to_path_buf(),
            operator: TerminalOperator::writing_to(Box::new(io::sink()), manners, interrupt.clone()),
            interrupt,
        }
    }

    #[tokio::test]
    async fn what_init_writes_is_read_back_and_holds_no_password() {
        let directory = tempfile::tempdir().unwrap();
        let flags = GlobalArguments {
            database: Some("postgres://ann:s3cret@127.0.0.1:1/shop".to_string()),
            source: Some("the \"shop\"".to_string()),
            migrations: Some("db".into()),
            ..GlobalArguments::default()
        };
        run(&context(directory.path(), flags), &Args { force: false }).await.unwrap();

        let text = fs::read_to_string(directory.path().join(FILE_NAME)).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let config = Config::load(&GlobalArguments::default(), &Environment::default(), directory.path()).unwrap();
        assert_eq!(config.database_url(), Some("postgres://ann@127.0.0.1:1/shop"));
        assert_eq!(config.database.source.as_deref(), Some("the \"shop\""));
        assert_eq!(config.migrations.dir, directory.path().join("db"));
        assert_eq!(config.store.url, None);
    }

    #[tokio::test]
    async fn an_existing_file_is_only_overwritten_by_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        fs::write(&path, "mine").unwrap();
        let context = context(directory.path(), GlobalArguments::default());

        let error = run(&context, &Args { force: false }).await.expect_err("refused");
        assert_eq!((error.kind.exit_code(), error.code), (2, "config-exists"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

        run(&context, &Args { force: true }).await.unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("# "));
    }

    #[test]
    fn a_database_with_tables_but_no_ledger_gets_its_own_advice() {
        assert!(advice(DatabaseState::TablesWithoutLedger).contains("no ledger"));
    }

    #[test]
    fn an_existing_migrations_directory_is_proposed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(likely_migrations(directory.path()), "migrations");
        fs::create_dir_all(directory.path().join("db/migrations")).unwrap();
        assert_eq!(likely_migrations(directory.path()), "db/migrations");
    }
}
