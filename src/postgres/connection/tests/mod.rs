mod login;
mod parsing;
mod tls;

use super::{ConnectionError, ConnectionSpec, Environment};
use std::path::Path;

/// An environment with these variables only.
fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

/// Parses in an environment where only the user is known.
fn parse(text: &str) -> Result<ConnectionSpec, ConnectionError> {
    ConnectionSpec::parse(Some(text), &environment(&[("USER", "os_user")]))
}

/// A loopback address that no other test's server listens on.
fn loopback_address() -> String {
    let [a, b, ..] = rand::random::<u32>().to_be_bytes();
    format!("127.77.{a}.{}", b.clamp(1, 254))
}

/// Gives a file to the user who runs the server, who alone may read it.
fn hand_over(path: &Path, like: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let owner = std::fs::metadata(like).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Makes the server accept this user's connections by these lines of `pg_hba.conf`, over TCP too.
fn replace_hba(cluster: &crate::postgres::PrivateCluster, lines: &str) {
    let text = format!("local all all trust\n{lines}\n");
    std::fs::write(cluster.dir().join("data/pg_hba.conf"), text).unwrap();
}

fn setting(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
