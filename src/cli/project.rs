//! From the merged configuration to what the workflows need.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::config::Trust;
use super::context::Context;
use super::error::CliError;
use crate::postgres::{ConnectionSpec, Environment, ExecuteOptions};
use crate::store::StoreSettings;
use crate::workflow::{Actor, Error, Operator, ProgramEnvironment, Project};

/// The variables of libpq that say which database is meant.
const NAMING_VARIABLES: [&str; 4] = ["PGDATABASE", "PGSERVICE", "PGHOST", "PGHOSTADDR"];

impl Context {
    /// The project of this command, with a store.
    pub(crate) fn project(&self) -> Result<Project, CliError> {
        self.project_on(self.target()?)
    }

    /// The same on a database that is named in another way.
    pub(crate) fn project_on(&self, target: ConnectionSpec) -> Result<Project, CliError> {
        let store = self.store_settings(target.is_local())?;
        self.project_with(target, store)
    }

    /// The store, for a command that needs no database: on a host that has none of its rights.
    pub(crate) fn store_alone(&self) -> Result<StoreSettings, CliError> {
        self.store_settings(self.target().map_or(true, |target| target.is_local()))
    }

    fn store_settings(&self, is_local: bool) -> Result<StoreSettings, CliError> {
        let is_default = self.config.store.url.is_none();
        let store = self.config.resolve_store(is_local)?;
        let trust = Trust::of(&self.environment);
        trust.check_store(&store, is_default)?.iter().for_each(|warning| self.operator.warn(warning));
        Ok(StoreSettings {
            url: store.url.unwrap_or_default(),
            endpoint: store.endpoint,
            region: store.region,
            path_style: store.path_style,
            sse: store.sse,
            kms_key: store.kms_key,
            trust: self.config.signing_trust(&self.flags, &self.environment)?,
            state_dir: self.environment.state_directory(),
        })
    }

    /// The project of a command that reads no store, so that a database elsewhere needs none.
    pub(crate) fn project_without_store(&self) -> Result<Project, CliError> {
        self.project_with(self.target()?, StoreSettings::default())
    }

    /// The directory of the migrations and the app of those directly in it, for a command that needs no database.
    pub(crate) fn migration_files(&self) -> (&Path, &str) {
        (&self.config.migrations.dir, &self.config.migrations.app)
    }

    /// The connection that was configured.
    ///
    /// libpq would go for a database named after the user on this machine; what is about to be migrated is not guessed.
    pub(crate) fn target(&self) -> Result<ConnectionSpec, CliError> {
        let url = self.config.database_url();
        let by_variable = NAMING_VARIABLES.iter().any(|name| self.environment.get(name).is_some());
        if url.is_none() && !by_variable {
            return Err(CliError::usage("no-database", "no database is named")
                .hint("name it with --database URL, DATABASE_URL, or `url` in [database] of safe-migrate.toml"));
        }
        self.connection(url)
    }

    /// Parses a connection string with this process's environment.
    pub(crate) fn connection(&self, url: Option<&str>) -> Result<ConnectionSpec, CliError> {
        let spec = ConnectionSpec::parse(url, &self.process_environment()).map_err(Error::from)?;
        Ok(match &self.config.database.password_command {
            Some(words) => spec.with_password_command(&shell_command(words)),
            None => spec,
        })
    }

    /// The server for shadows. What libpq's variables say of production is not taken for it, a password least of all.
    fn shadow_server(&self) -> Result<Option<ConnectionSpec>, CliError> {
        let Some(url) = &self.config.shadow.url else { return Ok(None) };
        let of_production = |name: &str| name.starts_with("PG") && !["PGPASSFILE", "PGSERVICEFILE"].contains(&name);
        let variables = self.environment.variables().iter().filter(|(name, _)| !of_production(name));
        let environment: Environment = variables.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Ok(Some(ConnectionSpec::parse(Some(url.expose_secret()), &environment).map_err(Error::from)?))
    }

    fn process_environment(&self) -> Environment {
        self.environment.variables().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn below_directory(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.directory) {
            Ok(below) if !below.as_os_str().is_empty() => below.to_path_buf(),
            _ => path.to_path_buf(),
        }
    }

    fn project_with(&self, target: ConnectionSpec, store: StoreSettings) -> Result<Project, CliError> {
        let config = &self.config;
        Ok(Project {
            shadow_server: self.shadow_server()?,
            shadow_max_cache: config.shadow.max_cache,
            shadow_network: config.shadow.allow_network,
            ledger_owners: config.ledger_owners.clone(),
            trusted_owners: config.trusted_owners.clone(),
            shadow_unconfined: config.shadow.unconfined.clone(),
            maintenance_database: config.database.maintenance.clone(),
            source: config.source_name(target.database()).to_string(),
            target,
            // Messages name files; below the current directory the short way is enough.
            migrations_dir: self.below_directory(&config.migrations.dir),
            default_app: config.migrations.app.clone(),
            store,
            bin_dir: config.shadow.bin_dir.clone(),
            shadow_dir: config.shadow.dir.clone().unwrap_or_else(|| self.environment.temporary_directory()),
            jobs: config.snapshot.jobs,
            compression: config.snapshot.compression,
            max_rate: config.snapshot.max_rate,
            lock_wait: config.snapshot.lock_wait,
            max_block: config.snapshot.max_block,
            ask_above: Some(config.ask_above),
            execute: ExecuteOptions {
                lock_timeout: config.apply.lock_timeout,
                statement_timeout: config.apply.statement_timeout,
                max_queue: config.apply.max_queue,
                retries: config.apply.retries,
                commit_wait: config.apply.commit_wait,
                unclear: None,
            },
            program_environment: ProgramEnvironment {
                templates: config.exec.env.clone(),
                passed: exec_variables(&config.exec.pass),
            },
            long_transaction: config.apply.long_transaction,
            max_age: config.apply.max_age,
            on_failure: config.on_failure,
            policy: config.policy.clone(),
            fingerprint_ignore: config.fingerprint_ignore.clone(),
            environment: self.process_environment(),
            state_dir: self.environment.state_directory(),
            actor: Actor { user: self.environment.user(), host: self.environment.host() },
        })
    }
}

/// The caller's variables that a program of the operator's gets: those of `[exec] pass`, and PATH.
pub(super) fn exec_variables(pass: &[String]) -> Vec<(String, String)> {
    let names: Vec<String> = pass.iter().cloned().chain(["PATH".to_owned()]).collect();
    super::environment::Environment::passed_on(&names)
}

/// Words of a program as one line for the shell, each quoted.
fn shell_command(words: &[String]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_a_password_command_reaches_its_program_whole() {
        let words = ["pass", "show", "it's a $secret"].map(str::to_owned);
        assert_eq!(shell_command(&words), r"'pass' 'show' 'it'\''s a $secret'");
    }
}
