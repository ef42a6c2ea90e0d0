//! Where the password of one connection comes from.

use super::{ConnectionError, ConnectionSpec, Host};
use secrecy::SecretString;
use std::process::Stdio;
use std::time::Duration;

/// A command that waits for a person, such as a touch of a key, gets this long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Socket directories that count as `localhost` in a password file.
pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A shell command whose first line of output is the password.
#[derive(Clone)]
pub(super) struct PasswordCommand(String);

impl PasswordCommand {
    pub(super) fn new(command: &str) -> Self {
        Self(command.to_owned())
    }

    async fn run(&self) -> Result<SecretString, ConnectionError> {
        let failed = |reason: String| ConnectionError::PasswordCommand { reason };
        // Its output, also what it says on stderr, may hold the secret: none of it is shown.
        let output = tokio::process::Command::new("sh")
            .args(["-c", &self.0])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(TIMEOUT, output)
            .await
            .map_err(|_| failed(format!("no answer within {} s", TIMEOUT.as_secs())))?
            .map_err(|error| failed(format!("sh cannot be run: {error}")))?;
        if !output.status.success() {
            return Err(failed(format!("{} (what it printed is not shown)", output.status)));
        }
        let text = String::from_utf8(output.stdout).map_err(|_| failed("the password is not UTF-8".to_owned()))?;
        match text.lines().next() {
            Some(password) if !password.is_empty() => Ok(SecretString::from(password)),
            _ => Err(failed("its first line is empty".to_owned())),
        }
    }
}

impl ConnectionSpec {
    /// The password for the next connection: `password_command`, else the one given, else the password file's.
    pub(super) async fn password(&self) -> Result<Option<SecretString>, ConnectionError> {
        if let Some(command) = &self.password_command {
            return command.run().await.map(Some);
        }
        Ok(self.password.clone().or_else(|| self.passfile_password()))
    }

    fn passfile_password(&self) -> Option<SecretString> {
        let host = match &self.host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(directory) if SOCKET_DIRECTORIES.iter().any(|default| directory.as_os_str() == *default) => {
                "localhost".to_owned()
            }
            Host::Unix(directory) => directory.display().to_string(),
        };
        self.passfile.lookup(&host, self.port, &self.database, &self.user)
    }
}
