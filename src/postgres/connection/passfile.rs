//! The password file (`~/.pgpass`): `host:port:database:user:password` per line.

use secrecy::SecretString;
use std::fmt;
use std::path::Path;

/// The lines of a password file; a lookup is by the four fields of a connection.
#[derive(Default)]
pub(super) struct Passfile(Vec<SecretString>);

impl fmt::Debug for Passfile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Passfile({} lines)", self.0.len())
    }
}

impl Passfile {
    /// Reads the file; one that is not there has no lines. As in libpq, a file that others may read, or that is no
    /// plain file, is left alone; the second value then says so.
    pub(super) fn read(path: &Path) -> (Self, Option<String>) {
        use std::os::unix::fs::PermissionsExt;
        let Ok(metadata) = std::fs::metadata(path) else { return (Self::default(), None) };
        let ignored =
            |why: &str| (Self::default(), Some(format!("the password file {} is ignored: {why}", path.display())));
        if !metadata.is_file() {
            return ignored("it is not a plain file");
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return ignored("others may read it; its permissions must be 0600 or less (chmod 600)");
        }
        match std::fs::read_to_string(path) {
            Ok(text) => (Self::parse(&text), None),
            Err(error) => ignored(&error.to_string()),
        }
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).map(SecretString::from).collect())
    }

    /// The password of the first line that matches; `*` alone in a field matches anything.
    pub(super) fn lookup(&self, host: &str, port: u16, database: &str, user: &str) -> Option<SecretString> {
        use secrecy::ExposeSecret;
        let port = port.to_string();
        let found = self.0.iter().find_map(|line| {
            let mut rest = line.expose_secret();
            for wanted in [host, &port, database, user] {
                rest = after_match(rest, wanted)?;
            }
            Some(rest.trim_end_matches('\r'))
        })?;
        (!found.is_empty()).then(|| SecretString::from(unescape(found)))
    }
}

/// What follows the first field and its colon, when the field matches.
fn after_match<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut letters = line.chars();
    let mut wanted = wanted.chars();
    loop {
        match letters.next()? {
            ':' => return wanted.next().is_none().then_some(letters.as_str()),
            '\\' => (letters.next() == wanted.next()).then_some(())?,
            letter => (Some(letter) == wanted.next()).then_some(())?,
        }
    }
}

fn unescape(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        value.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn lookup(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        Passfile::parse(text).lookup(host, port, database, user).map(|found| found.expose_secret().to_owned())
    }

    #[test]
    fn the_first_matching_line_wins() {
        let text = "#db:5432:shop:ann:comment\ndb:5432:shop:ann:one\n*:*:*:ann:two\n";
        assert_eq!(lookup(text, "db", 5432, "shop", "ann"), Some("one".to_owned()));
        assert_eq!(lookup(text, "other", 6000, "x", "ann"), Some("two".to_owned()));
        assert_eq!(lookup(text, "db", 5432, "shop", "bob"), None);
    }

    #[test]
    fn escapes_and_colons_in_the_password() {
        let text = "::1:*:*:*:no\n\\:\\:1:5432:a\\\\b:u:p\\:q\\\\r:s\n";
        assert_eq!(lookup(text, "::1", 5432, "a\\b", "u"), Some("p:q\\r:s".to_owned()));
    }

    #[test]
    fn a_field_matches_as_a_whole() {
        assert_eq!(lookup("db:5432:shop:ann:x", "db2", 5432, "shop", "ann"), None);
        assert_eq!(lookup("db2:5432:shop:ann:x", "db", 5432, "shop", "ann"), None);
        assert_eq!(lookup("*b:5432:shop:ann:x", "db", 5432, "shop", "ann"), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored_with_a_note() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:*:*:hunter2\n").unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let (passfile, note) = Passfile::read(file.path());
        assert!(passfile.lookup("h", 1, "d", "u").is_none());
        assert!(note.unwrap().contains("0600"));
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let (passfile, note) = Passfile::read(file.path());
        assert!(passfile.lookup("h", 1, "d", "u").is_some());
        assert_eq!(note, None);
    }
}
