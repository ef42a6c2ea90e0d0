//! The configuration: flags over environment over `safe-migrate.toml` over defaults, merged into plain values.

mod exec;
mod file;
mod keys;
mod policy;
mod quantity;
mod retention;
mod search;
mod snapshot;
mod template;
mod trust;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::exec::ExecConfig;
use self::file::{
    AfterFailureKey, ApplySection, ConfigFile, DatabaseSection, PasswordCommand, ShadowSection, StoreSection,
};
use self::keys::KeyEntry;
pub(crate) use self::keys::KeyFile;
pub(crate) use self::quantity::{parse_duration, parse_rate};
pub(crate) use self::retention::RetentionSection;
pub(crate) use self::search::FILE_NAME;
pub(crate) use self::snapshot::{COMPRESSION, SnapshotConfig};
pub(crate) use self::template::{Settings, render_template};
pub(crate) use self::trust::Trust;
use super::arguments::GlobalArguments;
use super::environment::Environment;
use super::error::CliError;
use crate::lint::Policy;
use crate::report::strip_password;
use crate::workflow::AfterFailure;

/// Where the default store lies, below the directory of the configuration file.
pub(crate) const DEFAULT_STORE: &str = ".safe-migrate/store";
/// Where migrations lie when nothing names another directory.
pub(crate) const DEFAULT_MIGRATIONS: &str = "migrations";

/// Everything a command needs to know, after merging. Paths are absolute.
#[derive(Debug)]
pub(crate) struct Config {
    /// The configuration file that was read.
    pub(crate) file: Option<PathBuf>,
    /// The directory of that file, or the current one: what relative paths in the file relate to.
    pub(crate) directory: PathBuf,
    /// The database to change.
    pub(crate) database: DatabaseConfig,
    /// The migration files.
    pub(crate) migrations: MigrationsConfig,
    /// The store as configured; [`Config::resolve_store`] adds the default.
    pub(crate) store: StoreConfig,
    /// The throwaway database of rehearsals.
    pub(crate) shadow: ShadowConfig,
    /// How snapshots are taken.
    pub(crate) snapshot: SnapshotConfig,
    /// How many snapshots stay.
    pub(crate) retention: RetentionSection,
    /// How old the newest snapshot may be when it is drilled; `None`: of any age.
    pub(crate) drill_max_age: Option<Duration>,
    /// How migrations are applied.
    pub(crate) apply: ApplyConfig,
    /// What a run does that fails after production was changed.
    pub(crate) on_failure: AfterFailure,
    /// How another migration command is wrapped.
    pub(crate) exec: ExecConfig,
    /// A snapshot estimated above this many bytes asks first.
    pub(crate) ask_above: u64,
    /// What findings count for, and how much a run may cost.
    pub(crate) policy: Policy,
    /// Schema entries that the fingerprint leaves out, such as `partman.*`.
    pub(crate) fingerprint_ignore: Vec<String>,
    /// Roles that may own the ledger.
    pub(crate) ledger_owners: Vec<String>,
    /// Roles whose functions may run with our rights.
    pub(crate) trusted_owners: Vec<String>,
    /// `[trust] keys`.
    pub(crate) trusted_keys: Vec<KeyEntry>,
    /// What the operator should know about the configuration.
    pub(crate) warnings: Vec<String>,
}

/// `[database]`.
#[derive(Debug)]
pub(crate) struct DatabaseConfig {
    /// URL or `keyword=value` text; `None` leaves all to the `PG*` variables.
    pub(crate) url: Option<SecretString>,
    /// The name under which snapshots of this database are kept; `None`: the database's own name.
    pub(crate) source: Option<String>,
    /// The database to connect to while the other one is swapped or locked.
    pub(crate) maintenance: String,
    /// Program and arguments that print the password, run anew for each connection.
    pub(crate) password_command: Option<Vec<String>>,
}

/// `[migrations]`.
#[derive(Debug)]
pub(crate) struct MigrationsConfig {
    /// The directory of the apps.
    pub(crate) dir: PathBuf,
    /// The app of migrations that lie directly in `dir`.
    pub(crate) app: String,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreConfig {
    /// `s3://bucket/prefix` or `file:///dir`.
    pub(crate) url: Option<String>,
    /// URL of an S3-compatible server.
    pub(crate) endpoint: Option<String>,
    /// S3 region.
    pub(crate) region: Option<String>,
    /// Address buckets by path instead of by host name.
    pub(crate) path_style: bool,
    /// Server-side encryption, as S3 names it (`AES256`, `aws:kms`).
    pub(crate) sse: Option<String>,
    /// The key for `aws:kms`.
    pub(crate) kms_key: Option<String>,
}

/// `[shadow]`.
#[derive(Debug)]
pub(crate) struct ShadowConfig {
    /// A server on which shadows are made; `None`: a private one is started each time.
    pub(crate) url: Option<SecretString>,
    /// Whether a shadow that cannot be cut off from the network is used all the same.
    pub(crate) allow_network: bool,
    /// Extensions, and rights of the role that migrates, that such a shadow may have.
    pub(crate) unconfined: Vec<String>,
    /// Where the PostgreSQL programs lie.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Where private servers are made; `None`: the system's temporary directory.
    pub(crate) dir: Option<PathBuf>,
    /// Bytes of restored shadows kept there for the next rehearsal; 0: none.
    pub(crate) max_cache: u64,
}

/// `[apply]`.
#[derive(Debug)]
pub(crate) struct ApplyConfig {
    /// How long one statement of a migration waits for a lock before it is retried.
    pub(crate) lock_timeout: Duration,
    /// How long one statement of a migration may run; `None`: as long as it wants.
    pub(crate) statement_timeout: Option<Duration>,
    /// How often a migration that got no lock is tried again.
    pub(crate) retries: u32,
    /// How many sessions may wait behind a statement of a migration; 0: any number.
    pub(crate) max_queue: u32,
    /// A transaction older than this is named before a run starts.
    pub(crate) long_transaction: Duration,
    /// How long a lost COMMIT that waits for a synchronous standby is waited for.
    pub(crate) commit_wait: Duration,
    /// How old a stored rehearsal may be that stands for a new one.
    pub(crate) max_age: Duration,
}

impl Config {
    /// Merges flags, environment, the configuration file and defaults.
    pub(crate) fn load(flags: &GlobalArguments, environment: &Environment, cwd: &Path) -> Result<Config, CliError> {
        let mut warning = None;
        let named = flags.config.as_deref().or(environment.get("SAFE_MIGRATE_CONFIG").map(Path::new));
        let path = match named {
            // The operator's own word.
            Some(path) => Some(cwd.join(path)),
            None => search::find(cwd, environment.get("HOME").map(Path::new)),
        };
        if let Some(found) = path.as_deref().filter(|_| named.is_none()) {
            warning = Trust::of(environment).check(found)?;
        }
        let file = path.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
        let mut config = Config::merge(flags, environment, cwd, path, file)?;
        config.warnings.extend(warning);
        Ok(config)
    }

    /// The configuration of a command that must work without a file, or with a broken one.
    pub(crate) fn without_file(
        flags: &GlobalArguments,
        environment: &Environment,
        cwd: &Path,
    ) -> Result<Config, CliError> {
        Config::merge(flags, environment, cwd, None, ConfigFile::default())
    }

    fn merge(
        flags: &GlobalArguments,
        environment: &Environment,
        cwd: &Path,
        path: Option<PathBuf>,
        file: ConfigFile,
    ) -> Result<Config, CliError> {
        let directory = path.as_deref().and_then(Path::parent).unwrap_or(cwd).to_path_buf();
        let mut warnings = Vec::new();
        if let Some(path) = path.as_deref().filter(|_| holds_password(file.database.url.as_ref())) {
            warnings.push(format!(
                "{} holds a password; keep it in a passfile, in PGPASSWORD or behind [database] password_command",
                path.display()
            ));
        }
        if flags.database.as_deref().is_some_and(|url| strip_password(url).1) {
            warnings.push(
                "a password on the command line can be read by every user of this machine; \
                 use PGPASSWORD, a passfile or SAFE_MIGRATE_DATABASE_URL"
                    .to_string(),
            );
        }
        let migrations = match &flags.migrations {
            Some(dir) => cwd.join(dir),
            None => directory.join(file.migrations.dir.as_deref().unwrap_or(Path::new(DEFAULT_MIGRATIONS))),
        };
        Ok(Config {
            database: database(flags, environment, file.database)?,
            migrations: MigrationsConfig {
                dir: migrations,
                app: file.migrations.app.unwrap_or_else(|| "main".to_string()),
            },
            store: store(flags, cwd, &directory, file.store),
            shadow: shadow(&directory, file.shadow),
            snapshot: SnapshotConfig::merge(flags, file.snapshot)?,
            retention: file.retention,
            drill_max_age: file.drill.max_age,
            apply: apply(file.apply),
            on_failure: match file.on_failure.after {
                AfterFailureKey::Stop => AfterFailure::Stop,
                AfterFailureKey::Rollback => AfterFailure::Rollback,
                AfterFailureKey::Restore => AfterFailure::Restore,
            },
            exec: ExecConfig::merge(file.exec)?,
            ask_above: file.limits.ask_above.unwrap_or(100_000_000_000),
            policy: file.policy.0,
            fingerprint_ignore: file.fingerprint.ignore,
            ledger_owners: file.ledger.owners,
            trusted_owners: file.trust.owners,
            trusted_keys: file.trust.keys,
            file: path,
            directory,
            warnings,
        })
    }

    /// The connection string for the connection parser; `None` leaves all to the `PG*` variables.
    pub(crate) fn database_url(&self) -> Option<&str> {
        self.database.url.as_ref().map(SecretString::expose_secret)
    }

    /// The name under which snapshots are kept: the configured one, else that of the database.
    pub(crate) fn source_name(&self, database: &str) -> String {
        self.database.source.clone().unwrap_or_else(|| database.to_string())
    }

    /// Whose signatures count, and who signs here.
    pub(crate) fn signing_trust(
        &self,
        flags: &GlobalArguments,
        environment: &Environment,
    ) -> Result<crate::signing::Trust, CliError> {
        keys::trust(&self.trusted_keys, (&flags.trust_key, flags.accept_unsigned.as_deref()), environment)
    }

    /// The store with its URL. `is_local`: the database is on this machine, the only case that has a default.
    pub(crate) fn resolve_store(&self, is_local: bool) -> Result<StoreConfig, CliError> {
        let mut store = self.store.clone();
        if store.url.is_some() {
            return Ok(store);
        }
        if !is_local {
            return Err(CliError::usage("store-missing", "a remote database needs a store, and none is named")
                .hint("name one with --store s3://BUCKET/PREFIX, or as `url` in [store] of safe-migrate.toml")
                .hint("--store file:///DIR keeps snapshots on this machine, if that is what you want"));
        }
        store.url = Some(format!("file://{}", self.directory.join(DEFAULT_STORE).display()));
        Ok(store)
    }
}

fn database(
    flags: &GlobalArguments,
    environment: &Environment,
    section: DatabaseSection,
) -> Result<DatabaseConfig, CliError> {
    let named = flags.database.as_deref();
    let named = named.or_else(|| environment.get("SAFE_MIGRATE_DATABASE_URL"));
    let named = named.or_else(|| environment.get("DATABASE_URL"));
    let source = flags.source.clone().or(section.source);
    if let Some(source) = source.as_deref().filter(|source| source.trim().is_empty() || source.contains(['/', '\n'])) {
        return Err(CliError::usage("source-invalid", format!("`{source}` cannot be the name of a source"))
            .hint("use a plain name such as `shop`"));
    }
    Ok(DatabaseConfig {
        url: named.map(SecretString::from).or(section.url),
        source,
        maintenance: section.maintenance.unwrap_or_else(|| "postgres".to_string()),
        password_command: section.password_command.map(command_words).transpose()?,
    })
}

fn command_words(command: PasswordCommand) -> Result<Vec<String>, CliError> {
    match command {
        PasswordCommand::Shell(line) if !line.trim().is_empty() => Ok(vec!["sh".into(), "-c".into(), line]),
        PasswordCommand::Words(words) if words.first().is_some_and(|program| !program.is_empty()) => Ok(words),
        _ => Err(CliError::usage("config-invalid", "[database] password_command names no program")),
    }
}

fn store(flags: &GlobalArguments, cwd: &Path, directory: &Path, section: StoreSection) -> StoreConfig {
    let url = match (&flags.store, &section.url) {
        (Some(url), _) => Some(absolute_url(url, cwd)),
        (None, Some(url)) => Some(absolute_url(url, directory)),
        (None, None) => None,
    };
    StoreConfig {
        url,
        endpoint: section.endpoint,
        region: section.region,
        path_style: section.path_style.unwrap_or(false),
        sse: section.sse,
        kms_key: section.kms_key,
    }
}

/// A store named by a plain path is a directory; everything with a scheme is left to the store.
fn absolute_url(url: &str, base: &Path) -> String {
    if url.contains("://") { url.to_string() } else { format!("file://{}", base.join(url).display()) }
}

fn shadow(directory: &Path, section: ShadowSection) -> ShadowConfig {
    ShadowConfig {
        url: section.url,
        allow_network: section.allow_network.unwrap_or(false),
        unconfined: section.unconfined,
        bin_dir: section.bin_dir.map(|path| directory.join(path)),
        dir: section.dir.map(|path| directory.join(path)),
        max_cache: section.max_cache.unwrap_or(10_000_000_000),
    }
}

fn apply(section: ApplySection) -> ApplyConfig {
    ApplyConfig {
        lock_timeout: section.lock_timeout.unwrap_or(Duration::from_millis(500)),
        statement_timeout: section.statement_timeout.filter(|timeout| !timeout.is_zero()),
        retries: section.retries.unwrap_or(10),
        max_queue: section.max_queue.unwrap_or(50),
        long_transaction: section.long_transaction.unwrap_or(Duration::from_secs(60)),
        commit_wait: section.commit_wait.unwrap_or(Duration::from_secs(5 * 60)),
        max_age: section.max_age.unwrap_or(Duration::from_secs(24 * 60 * 60)),
    }
}

fn holds_password(url: Option<&SecretString>) -> bool {
    url.is_some_and(|url| strip_password(url.expose_secret()).1)
}

#[cfg(test)]
mod tests;
