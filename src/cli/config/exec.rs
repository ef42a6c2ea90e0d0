//! `[exec]`: what a wrapped command sees of the environment, and how it is asked where it goes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::error::CliError;
use crate::postgres::PLACEHOLDERS;

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExecSection {
    env: Option<BTreeMap<String, String>>,
    pass: Vec<String>,
    probe: Option<Vec<String>>,
    pending: Option<Vec<String>>,
    django: Option<Vec<String>>,
}

/// `[exec]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecConfig {
    /// Variables, and templates of the database's address.
    pub(crate) env: Vec<(String, String)>,
    /// Variables of the caller's that are passed on; PATH always is.
    pub(crate) pass: Vec<String>,
    /// A program that prints the shadow's mark or talks with the shadow; none: only Django needs none.
    pub(crate) probe: Option<Vec<String>>,
    /// A program that ends with 0 when nothing is pending; Django needs none.
    pub(crate) pending: Option<Vec<String>>,
    /// How `manage.py` is run for `--django`.
    pub(crate) django: Vec<String>,
}

/// What most settings read.
const DEFAULT_ENV: [(&str, &str); 11] = [
    ("DATABASE_URL", "{url}"),
    ("DB_HOST", "{host}"),
    ("DB_NAME", "{dbname}"),
    ("DB_PASSWORD", "{password}"),
    ("DB_PORT", "{port}"),
    ("DB_USER", "{user}"),
    ("PGDATABASE", "{dbname}"),
    ("PGHOST", "{host}"),
    ("PGPASSWORD", "{password}"),
    ("PGPORT", "{port}"),
    ("PGUSER", "{user}"),
];

impl ExecConfig {
    /// Checks the templates and puts the defaults in.
    pub(super) fn merge(section: ExecSection) -> Result<Self, CliError> {
        let env: Vec<(String, String)> = match section.env {
            Some(env) => env.into_iter().collect(),
            None => DEFAULT_ENV.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        for (name, template) in &env {
            if let Some(unknown) = unknown_placeholder(template) {
                return Err(CliError::usage("config-invalid", format!("[exec] env: {name} names {{{unknown}}}"))
                    .hint(format!("in braces can stand: {}", PLACEHOLDERS.join(", "))));
            }
        }
        for (name, words) in [("probe", &section.probe), ("pending", &section.pending), ("django", &section.django)] {
            if words.as_ref().is_some_and(Vec::is_empty) {
                return Err(CliError::usage("config-invalid", format!("[exec] {name} names no program")));
            }
        }
        let django = section.django.unwrap_or_else(|| vec!["python".to_owned(), "manage.py".to_owned()]);
        Ok(Self { env, pass: section.pass, probe: section.probe, pending: section.pending, django })
    }
}

fn unknown_placeholder(template: &str) -> Option<&str> {
    let names = template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    names.into_iter().find(|name| !PLACEHOLDERS.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_placeholder_is_named() {
        let section: ExecSection = toml::from_str("env = { DB = \"{name}\" }").unwrap();
        let error = ExecConfig::merge(section).unwrap_err();
        assert_eq!(error.message, "[exec] env: DB names {name}");
        let section: ExecSection = toml::from_str("env = { DB = \"x-{dbname}\" }\npass = [\"LANG\"]").unwrap();
        let config = ExecConfig::merge(section).unwrap();
        assert_eq!(config.env, [("DB".to_owned(), "x-{dbname}".to_owned())]);
        assert_eq!(ExecConfig::merge(ExecSection::default()).unwrap().django, ["python", "manage.py"]);
    }
}
