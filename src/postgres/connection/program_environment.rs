//! The same connection for PostgreSQL's programs: through `PG*` variables, never through arguments.

use super::keyword::environment_variables;
use super::{ChannelBinding, ConnectionError, ConnectionSpec, Host, SessionAttributes};
use secrecy::ExposeSecret;
use tokio::process::Command;

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
        if let Some(options) = &self.options {
            command.env("PGOPTIONS", options);
        }
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
