//! The same connection for a program that is not PostgreSQL's: its parts as text, to be put into that program's own
//! variables.

use secrecy::{ExposeSecret, SecretString};

use super::{ConnectionError, ConnectionSpec, Host};

/// Where a database is, in the parts that other programs' settings want.
#[derive(Clone)]
pub struct Endpoint {
    host: String,
    port: String,
    database: String,
    user: String,
    password: SecretString,
    url: SecretString,
}

/// The placeholders of a template.
pub const PLACEHOLDERS: [&str; 6] = ["url", "host", "port", "dbname", "user", "password"];

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Endpoint({}@{}:{}/{})", self.user, self.host, self.port, self.database)
    }
}

impl ConnectionSpec {
    /// The parts, with the password of now. Runs `password_command`, so it can fail.
    pub async fn endpoint(&self) -> Result<Endpoint, ConnectionError> {
        let password = self.password().await?;
        let password = password.as_ref().map_or("", |password| password.expose_secret());
        let host = match &self.host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        };
        let login = match password {
            "" => encode(&self.user),
            password => format!("{}:{}", encode(&self.user), encode(password)),
        };
        let (database, port) = (encode(&self.database), self.port);
        let url = match &self.host {
            Host::Tcp(host) if host.contains(':') => format!("postgresql://{login}@[{host}]:{port}/{database}"),
            Host::Tcp(host) => format!("postgresql://{login}@{}:{port}/{database}", encode(host)),
            // Understood by libpq, SQLAlchemy, node-postgres and Prisma.
            Host::Unix(_) => format!("postgresql://{login}@/{database}?host={}&port={port}", encode_path(&host)),
        };
        Ok(Endpoint {
            host,
            port: port.to_string(),
            database: self.database.clone(),
            user: self.user.clone(),
            password: password.to_owned().into(),
            url: url.into(),
        })
    }
}

impl Endpoint {
    /// Host name, address, or the directory of the socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Puts the parts in place of `{url}`, `{host}`, `{port}`, `{dbname}`, `{user}`, `{password}`.
    ///
    /// # Errors
    /// The name between braces that is none of these.
    pub fn fill(&self, template: &str) -> Result<SecretString, String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else { break };
            filled.push_str(before);
            filled.push_str(match name {
                "url" => self.url.expose_secret(),
                "host" => &self.host,
                "port" => &self.port,
                "dbname" => &self.database,
                "user" => &self.user,
                "password" => self.password.expose_secret(),
                other => return Err(other.to_owned()),
            });
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled.into())
    }

    /// A text of the program without the password, in plain or as it stands in the address.
    pub fn masked(&self, text: &str) -> String {
        let password = self.password.expose_secret();
        if password.is_empty() {
            return text.to_owned();
        }
        text.replace(password, "…").replace(&encode(password), "…")
    }
}

fn encode(text: &str) -> String {
    encode_but(text, b"-._~")
}

fn encode_path(text: &str) -> String {
    encode_but(text, b"-._~/")
}

fn encode_but(text: &str, plain: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut done, byte| {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            done.push(char::from(byte));
        } else {
            done.push_str(&format!("%{byte:02X}"));
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::*;

    async fn endpoint(url: &str) -> Endpoint {
        ConnectionSpec::parse(Some(url), &Environment::default()).unwrap().endpoint().await.unwrap()
    }

    #[tokio::test]
    async fn templates_are_filled_and_the_password_is_masked() {
        let one = endpoint("postgresql://ann:p%40ss@db.example:5433/shop").await;
        let all = one.fill("{url} {host} {port} {dbname} {user} {password} {").unwrap();
        assert_eq!(all.expose_secret(), "postgresql://ann:p%40ss@db.example:5433/shop db.example 5433 shop ann p@ss {");
        assert_eq!(one.fill("{name}").unwrap_err(), "name");
        assert_eq!(one.masked("p@ss or p%40ss"), "… or …");
        assert!(!format!("{one:?}").contains("p@ss"));
    }

    #[tokio::test]
    async fn a_socket_stands_in_the_address_as_a_parameter() {
        let one = endpoint("postgresql:///shop?host=/run/a b&user=ann&port=6").await;
        let url = one.fill("{url}").unwrap();
        assert_eq!(url.expose_secret(), "postgresql://ann@/shop?host=/run/a%20b&port=6");
        let again = endpoint(url.expose_secret()).await;
        assert_eq!((again.host(), again.port(), again.database()), ("/run/a b", "6", "shop"));
    }
}
