//! Connection service files: named sets of keywords (`~/.pg_service.conf`, `pg_service.conf`).

use super::ConnectionError;
use super::environment::Environment;
use super::keyword::Parameters;
use std::path::{Path, PathBuf};

/// Directories in which packages look for the system's file when `PGSYSCONFDIR` is not set.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/etc"];

/// Finds the service in the user's file, then in the system's; a service that is nowhere is an error.
pub(super) fn read(service: &str, environment: &Environment) -> Result<Parameters, ConnectionError> {
    let looked_in = candidates(environment);
    for path in &looked_in {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                if let Some(parameters) = parse(&text, service, path)? {
                    return Ok(parameters);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ConnectionError::File { path: path.clone(), source }),
        }
    }
    Err(ConnectionError::ServiceNotFound { service: service.to_owned(), looked_in })
}

fn candidates(environment: &Environment) -> Vec<PathBuf> {
    let user = environment
        .get("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| environment.home().map(|home| home.join(".pg_service.conf")));
    let directories: Vec<&str> = match environment.get("PGSYSCONFDIR") {
        Some(directory) => vec![directory],
        None => SYSTEM_DIRECTORIES.to_vec(),
    };
    user.into_iter().chain(directories.iter().map(|directory| Path::new(directory).join("pg_service.conf"))).collect()
}

/// Reads the group of one service; `None` when the file has no such group. The first mention of a keyword wins.
fn parse(text: &str, service: &str, path: &Path) -> Result<Option<Parameters>, ConnectionError> {
    let mut found: Option<Parameters> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            found = (header.strip_suffix(']') == Some(service)).then(Parameters::default);
        } else if let Some(parameters) = &mut found {
            read_line(parameters, line).map_err(|reason| ConnectionError::ServiceFile {
                path: path.to_owned(),
                line: index + 1,
                reason,
            })?;
        }
    }
    Ok(found)
}

fn read_line(parameters: &mut Parameters, line: &str) -> Result<(), String> {
    if line.starts_with("ldap") {
        return Err("LDAP lookups are not supported".to_owned());
    }
    let (keyword, value) = line.split_once('=').ok_or("expected keyword=value")?;
    if keyword == "service" {
        return Err("a service cannot name another service".to_owned());
    }
    let mut one = Parameters::default();
    one.set(keyword, value.to_owned()).map_err(|error| error.to_string())?;
    parameters.fill_from(one);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(file: &Path) -> Environment {
        [("PGSERVICEFILE", file.to_string_lossy().into_owned())].into_iter().collect()
    }

    #[test]
    fn reads_the_named_group_only_and_the_first_mention_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# c\n[other]\nhost=no\n[shop]\nhost=db1\nhost=db2\nport=6000\n[last]\nuser=u\n")
            .unwrap();
        let parameters = read("shop", &environment(file.path())).unwrap();
        assert_eq!(parameters.get("host"), Some("db1"));
        assert_eq!(parameters.get("port"), Some("6000"));
        assert_eq!(parameters.get("user"), None);
    }

    #[test]
    fn an_unknown_service_says_where_it_was_looked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Err(error) = read("shop", &environment(file.path())) else { panic!("found") };
        assert!(error.to_string().contains("shop"), "{error}");
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    }

    #[test]
    fn a_bad_line_is_named_without_its_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[shop]\nhost=db1\npasword=hunter2\n").unwrap();
        let Err(error) = read("shop", &environment(file.path())) else { panic!("accepted") };
        let text = error.to_string();
        assert!(text.contains("line 3") && text.contains("pasword") && !text.contains("hunter2"), "{text}");
    }
}
