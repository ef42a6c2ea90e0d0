//! `safe-migrate.toml` as it is written, before flags, environment and defaults are merged in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::exec::ExecSection;
use super::policy::PolicySection;
use super::quantity;
use super::retention::RetentionSection;
use crate::cli::error::CliError;
use crate::report::redact;

/// The whole file. Every key is optional; an unknown one is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) database: DatabaseSection,
    pub(super) migrations: MigrationsSection,
    pub(super) store: StoreSection,
    pub(super) shadow: ShadowSection,
    pub(super) snapshot: SnapshotSection,
    pub(super) retention: RetentionSection,
    pub(super) drill: DrillSection,
    pub(super) apply: ApplySection,
    pub(super) on_failure: OnFailureSection,
    pub(super) limits: LimitsSection,
    pub(super) exec: ExecSection,
    pub(super) fingerprint: FingerprintSection,
    pub(super) ledger: LedgerSection,
    pub(super) trust: TrustSection,
    pub(super) policy: PolicySection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DatabaseSection {
    #[serde(deserialize_with = "secret")]
    pub(super) url: Option<SecretString>,
    pub(super) source: Option<String>,
    pub(super) maintenance: Option<String>,
    pub(super) password_command: Option<PasswordCommand>,
}

/// A program and its arguments, or one line for the shell.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list [program, argument, …] or one line for sh")]
pub(super) enum PasswordCommand {
    Words(Vec<String>),
    Shell(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MigrationsSection {
    pub(super) dir: Option<PathBuf>,
    pub(super) app: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreSection {
    pub(super) url: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) sse: Option<String>,
    pub(super) kms_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShadowSection {
    #[serde(deserialize_with = "secret")]
    pub(super) url: Option<SecretString>,
    pub(super) allow_network: Option<bool>,
    pub(super) unconfined: Vec<String>,
    pub(super) bin_dir: Option<PathBuf>,
    pub(super) dir: Option<PathBuf>,
    #[serde(deserialize_with = "quantity::size")]
    pub(super) max_cache: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SnapshotSection {
    pub(super) jobs: Option<usize>,
    pub(super) compression: Option<i32>,
    #[serde(deserialize_with = "quantity::rate")]
    pub(super) max_rate: Option<u64>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) lock_wait: Option<Duration>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) max_block: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DrillSection {
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) max_age: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApplySection {
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) lock_timeout: Option<Duration>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) statement_timeout: Option<Duration>,
    pub(super) retries: Option<u32>,
    pub(super) max_queue: Option<u32>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) long_transaction: Option<Duration>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) commit_wait: Option<Duration>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(super) max_age: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OnFailureSection {
    pub(super) after: AfterFailureKey,
}

/// What a run does that fails after production was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AfterFailureKey {
    #[default]
    Stop,
    Rollback,
    Restore,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    #[serde(deserialize_with = "quantity::size")]
    pub(super) ask_above: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerSection {
    pub(super) owners: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TrustSection {
    pub(super) owners: Vec<String>,
    pub(super) keys: Vec<super::keys::KeyEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FingerprintSection {
    pub(super) ignore: Vec<String>,
}

/// A connection string: it may hold a password, so `Debug` never shows it.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(SecretString::from(text)))
}

impl ConfigFile {
    /// Reads and parses a file; every error names it, and a wrong line by its number.
    pub(super) fn read(path: &Path) -> Result<ConfigFile, CliError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            CliError::usage("config-unreadable", format!("cannot read the configuration file {}", path.display()))
                .caused_by(error)
                .hint("name another file with --config, or write one with `safe-migrate init`")
        })?;
        ConfigFile::parse(&text, path)
    }

    /// Parses the text of a file; `path` is only named in errors.
    pub(super) fn parse(text: &str, path: &Path) -> Result<ConfigFile, CliError> {
        // The error's own Display quotes the line, which may hold a password; only the bare message is used.
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            describe(&format!("{}:{line}", path.display()), error.message())
        })
    }
}

/// Turns the parser's message into an error that names the place and, for an unknown key, the nearest known one.
fn describe(place: &str, message: &str) -> CliError {
    if !message.starts_with("unknown field") {
        return CliError::usage("config-invalid", format!("{place}: {}", redact(message.trim_end())))
            .hint("the file is TOML: `key = value`, text in \"double quotes\", sections in [brackets]");
    }
    // serde's wording: unknown field `x`, expected one of `a`, `b`
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let error = CliError::usage("config-unknown-key", format!("{place}: unknown key `{unknown}`"));
    match nearest(unknown, &known) {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None => error.hint(format!("known here: {}", known.join(", "))),
    }
}

/// The known name most like the unknown one, when they are alike at all.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> CliError {
        ConfigFile::parse(text, Path::new("dir/safe-migrate.toml")).expect_err("an invalid file")
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        let error = error("# a comment\n[apply]\nretries = 3\nlock_timout = \"2s\"\n");
        assert_eq!(error.code, "config-unknown-key");
        assert_eq!(error.kind.exit_code(), 2);
        assert_eq!(error.message, "dir/safe-migrate.toml:4: unknown key `lock_timout`");
        assert_eq!(error.hints, ["did you mean `lock_timeout`?"]);
    }

    #[test]
    fn a_key_like_no_other_gets_the_list_and_an_unknown_section_its_line() {
        assert_eq!(error("[limits]\nfoo = 1").hints, ["known here: ask_above"]);
        let section = error("\n[databse]\nurl = \"x\"");
        assert_eq!(section.message, "dir/safe-migrate.toml:2: unknown key `databse`");
        assert_eq!(section.hints, ["did you mean `database`?"]);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line_and_never_with_a_password() {
        let age = error("[apply]\nlock_timeout = \"soon\"");
        assert!(age.message.starts_with("dir/safe-migrate.toml:2: `soon` is not a duration"), "{}", age.message);
        assert_eq!(age.code, "config-invalid");
        let after = error("[on_failure]\nafter = \"retry\"");
        assert!(after.message.contains(":2: ") && after.message.contains("`rollback`"), "{}", after.message);
        for text in ["database = \"postgres://u:s3cret@h/d\"", "[store]\npath_style = \"postgres://u:s3cret@h/d\""] {
            let message = error(text).message;
            assert!(!message.contains("s3cret"), "{message}");
        }
        assert!(!error("[database]\nurl = \"postgres://u:s3cret@h/d").message.contains("s3cret"));
    }

    #[test]
    fn every_key_that_has_an_effect_is_known() {
        let text = r#"
            [database]
            url = "postgres://u@h/d"
            source = "shop"
            maintenance = "postgres"
            password_command = ["pass", "show", "shop"]
            [migrations]
            dir = "db"
            app = "main"
            [store]
            url = "s3://b/p"
            endpoint = "https://s3.example"
            region = "eu"
            path_style = true
            sse = "aws:kms"
            kms_key = "k"
            [shadow]
            url = "postgres://u@h/d"
            allow_network = true
            bin_dir = "bin"
            dir = "tmp"
            max_cache = "10GB"
            [snapshot]
            jobs = 4
            compression = 1
            max_rate = "50MB/s"
            lock_wait = "10s"
            max_block = "30s"
            [apply]
            lock_timeout = "2s"
            statement_timeout = "0"
            retries = 5
            max_age = "12h"
            [on_failure]
            after = "rollback"
            [limits]
            ask_above = "100GB"
            [fingerprint]
            ignore = ["partman.*"]
        "#;
        let file = ConfigFile::parse(text, Path::new("x")).expect("a valid file");
        assert_eq!(file.apply.statement_timeout, Some(Duration::ZERO));
        assert_eq!(file.on_failure.after, AfterFailureKey::Rollback);
        assert_eq!(file.fingerprint.ignore, ["partman.*"]);
    }
}
