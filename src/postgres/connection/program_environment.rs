//! The same connection for PostgreSQL's programs: through `PG*` variables, never through arguments.

use super::keyword::environment_variables;
use super::{ChannelBinding, ConnectionError, ConnectionSpec, Host, SessionAttributes};
use secrecy::ExposeSecret;
use tokio::process::Command;

/// What a database or a role may set of its own that changes how a schema is printed or read; `pg_dump` and `pg_restore` set
/// some of it themselves. What they print is compared with what they print elsewhere and later.
const PINNED: &[(&str, &str)] = &[
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO,YMD"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("quote_all_identifiers", "off"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
];

impl ConnectionSpec {
    /// Makes a program connect as [`ConnectionSpec::connect`] would; every other `PG*` variable is cleared.
    ///
    /// Arguments are visible to everyone on the machine, the environment is not: the password goes into `PGPASSWORD`.
    /// `keepalives*` have no variables and stay at libpq's defaults. Runs `password_command`, so it can fail.
    pub async fn for_program(&self, command: &mut Command) -> Result<(), ConnectionError> {
        for variable in environment_variables() {
            command.env_remove(variable);
        }
        match &self.host {
            Host::Tcp(host) => command.env("PGHOST", host),
            Host::Unix(directory) => command.env("PGHOST", directory),
        };
        command.env("PGPORT", self.port.to_string()).env("PGUSER", &self.user).env("PGDATABASE", &self.database);
        command.env("PGAPPNAME", "safe-migrate").env("PGGSSENCMODE", "disable").env("PGCLIENTENCODING", "UTF8");
        // Zero means without end, in libpq too.
        let timeout = self.connect_timeout.map_or(0, |limit| limit.as_secs());
        command.env("PGCONNECT_TIMEOUT", timeout.to_string());
        if let Some(address) = self.hostaddr {
            command.env("PGHOSTADDR", address.to_string());
        }
        let pinned = PINNED.iter().fold(self.clone(), |spec, (name, value)| spec.with_setting(name, value));
        command.env("PGOPTIONS", pinned.options.unwrap_or_default());
        if let Some(path) = &self.passfile_path {
            command.env("PGPASSFILE", path);
        }
        if let Some(password) = self.password().await? {
            command.env("PGPASSWORD", password.expose_secret());
        }
        command
            .env("PGCHANNELBINDING", self.channel_binding.name())
            .env("PGTARGETSESSIONATTRS", self.session_attributes.name());
        self.tls.for_program(command);
        Ok(())
    }
}

impl ChannelBinding {
    fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
        }
    }
}

impl SessionAttributes {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}
