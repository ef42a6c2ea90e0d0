//! The commented file that `init` writes: every key, with its default.

/// What `init` knows; the rest of the file is comments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// `[database] url`, without a password.
    pub(crate) url: Option<String>,
    /// `[database] source`.
    pub(crate) source: Option<String>,
    /// `[migrations] dir`.
    pub(crate) migrations: Option<String>,
    /// `[store] url`.
    pub(crate) store: Option<String>,
    /// The public key of this user and the name of this machine, for `[trust] keys`.
    pub(crate) key: Option<(String, String)>,
}

/// The text of the file.
pub(crate) fn render_template(settings: &Settings) -> String {
    TEMPLATE
        .replace("{url}", &key("url", settings.url.as_deref(), "postgres://deploy@db.example/shop?sslmode=verify-full"))
        .replace("{source}", &key("source", settings.source.as_deref(), "shop"))
        .replace("{dir}", &key("dir", settings.migrations.as_deref(), super::DEFAULT_MIGRATIONS))
        .replace("{store}", &key("url", settings.store.as_deref(), "s3://bucket/prefix"))
        .replace("{keys}", &keys(settings.key.as_ref()))
}

/// One line: the value, or a commented example.
fn key(name: &str, value: Option<&str>, example: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    match value {
        Some(value) => format!("{name} = {}", quoted(value)),
        None => format!("#{name} = {}", quoted(example)),
    }
}

/// The line of `[trust] keys`, commented: from the moment it counts, every host that uses the store needs a key.
fn keys(key: Option<&(String, String)>) -> String {
    let example = ("prod".to_owned(), format!("ed25519:{}", "00".repeat(32)));
    let (public, name) = key.map_or((&example.1, &example.0), |(public, name)| (public, name));
    let quoted = |text: &str| toml::Value::from(text).to_string();
    format!("#keys = [{{ name = {}, key = {} }}]", quoted(name), quoted(public))
}

const TEMPLATE: &str = r##"# safe-migrate. Command-line options win over environment variables, and those over this file.
# Relative paths relate to the directory of this file. A line that begins with "#key" shows a default or an example.

[database]
# A URL or "keyword=value" text, as for psql, without the password. When nothing is named here, then
# SAFE_MIGRATE_DATABASE_URL, DATABASE_URL and the PG* variables count. The password belongs into PGPASSWORD,
# a passfile, or password_command.
{url}
# The name under which snapshots of this database are kept; by default its own.
{source}
# The database to connect to while the other one is locked or swapped.
#maintenance = "postgres"
# Prints the password; run anew for each connection.
#password_command = ["pass", "show", "shop/db"]

[migrations]
{dir}
# The app of migrations that lie directly in that directory.
#app = "main"

[store]
# Where snapshots live. Only a database on this machine has a default: .safe-migrate/store beside this file.
{store}
# For S3-compatible servers; credentials come from the usual AWS variables and files.
#endpoint = "https://s3.example"
#region = "eu-central-1"
#path_style = false
#sse = "aws:kms"
#kms_key = "alias/backup"

[shadow]
# Rehearsals run in a private PostgreSQL of production's version, made in `dir` and removed afterwards.
#bin_dir = "/usr/lib/postgresql/17/bin"
#dir = "/var/tmp"
# Restored copies of production are kept in `dir` up to this size, so that the next `rehearse` on the same snapshot does not
# restore again; "0": none is kept.
#max_cache = "10GB"
# A server for shadows instead of a private one, of the same version and with production's roles, never production's own.
#url = "postgres://safe_migrate@shadow.example/postgres"
# Where neither is cut off from the network: rehearse all the same, although dblink or foreign tables are in use.
#allow_network = false
# And although the role that migrates is a superuser or may run programs, or an extension that reaches out is installed.
#unconfined = ["superuser", "dblink"]

[snapshot]
#jobs = 4
# Level of zstd, from 1 (fast) to 19 (small).
#compression = 1
# Rows are read from production no faster than this; "0": as fast as it gives them.
#max_rate = "50MB/s"
# How long it waits for a lock that another session holds before it gives up and names that session.
#lock_wait = "10s"
# How long others may wait for its locks (an ALTER TABLE, and everybody behind that) before it gives up; "0": any time.
#max_block = "30s"

[retention]
# What `safe-migrate snapshot forget` keeps: the newest of each hour, day, week, month and year (UTC) for so many of them; the
# last ones; all that are younger than keep_within; those before the last runs; and the last ones that a restore proved.
#keep_last = 3
#keep_hourly = 24
#keep_daily = 7
#keep_weekly = 4
#keep_monthly = 12
#keep_yearly = 3
#keep_within = "2d"
#keep_before_runs = 5
#keep_proven = 2
# More than so many in a hundred are not removed at once.
#max_remove = 25

[drill]
# `safe-migrate drill` ends with 3 when the newest snapshot is older.
#max_age = "26h"

[apply]
# How long a statement waits for a lock before the migration is tried again, and how often that is done.
#lock_timeout = "500ms"
#retries = 10
# More sessions than this waiting behind a statement: it is cancelled and tried again; 0: any number may wait.
#max_queue = 50
# A transaction that has been open for longer is named before the question.
#long_transaction = "1m"
# "0": as long as it takes.
#statement_timeout = "0"
# How long a COMMIT whose answer was lost is waited for while it waits for a synchronous standby.
#commit_wait = "5m"
# A stored rehearsal that still matches stands for a new one up to this age.
#max_age = "24h"

[on_failure]
# What a run does that fails after it changed production: "stop"; "rollback" of what it applied, if the rehearsal proved the down
# sections; or "restore" of its snapshot, which loses later writes and so wants --fence=closed.
#after = "stop"

[exec]
# What a wrapped migration command gets: the address of the database, once the shadow's and once production's, and PATH. In
# braces: url, host, port, dbname, user, password. Without this key DATABASE_URL, DB_* and PG* are set.
#env = { DB_HOST = "{host}", DB_PORT = "{port}", DB_NAME = "{dbname}", DB_USER = "{user}", DB_PASSWORD = "{password}" }
# Variables of yours that it gets as well.
#pass = ["DJANGO_SETTINGS_MODULE", "SECRET_KEY"]
# A program that connects as the command does, to show that it goes where these variables say; Django needs none.
#probe = ["alembic", "current"]
# A program that ends with 0 when nothing is pending: then no snapshot is taken; Django needs none.
#pending = ["alembic", "current", "--check-heads"]
# How `--django` runs manage.py.
#django = ["python", "manage.py"]

[limits]
# A snapshot estimated above this asks first; with --yes it is refused.
#ask_above = "100GB"

[policy]
# What a finding counts for: off, note, warn or deny; `safe-migrate lint --rules` lists the codes.
#rename-column = "deny"
# Budgets of a rehearsal: how long reads or writes may wait for one lock, and the largest table written anew.
#max_blocking_lock = "2s"
#max_rewrite = "1GB"
# Measured loss of data, and migrations that cannot be undone.
#data_loss = "deny"
#irreversible = "warn"

[ledger]
# Roles that may own the schema safe_migrate, besides the role that migrates and superusers. The owner of the database is one
# of them unless a superuser migrates.
#owners = ["deploy"]

[trust]
# Roles whose functions may run with the rights of a restore, besides superusers and the role that restores.
#owners = ["deploy"]
# The keys whose signatures count in the store; without one, whoever can write to it is believed. `may` and `sources` limit a
# key: { name = "ci", key = "…", may = ["receipt"], sources = ["shop"] }. `safe-migrate store keys` shows all.
{keys}

[fingerprint]
# Schema entries that come and go by themselves and are no drift.
#ignore = ["partman.*"]
"##;

#[cfg(test)]
mod tests {
    use super::super::file::ConfigFile;
    use super::*;
    use std::path::Path;

    #[test]
    fn the_template_is_valid_as_it_is_and_with_every_comment_removed() {
        let template = render_template(&Settings::default());
        ConfigFile::parse(&template, Path::new("template")).expect("the template");
        let lines = template.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        });
        let uncommented: Vec<&str> = lines.collect();
        let file = ConfigFile::parse(&uncommented.join("\n"), Path::new("template")).expect("every key");
        assert_eq!(file.store.url.as_deref(), Some("s3://bucket/prefix"));
        assert_eq!(file.apply.retries, Some(10));
    }

    /// README's table has every key that the file has, in the same section.
    #[test]
    fn the_readme_knows_every_key() {
        let readme = include_str!("../../../README.md");
        let table = readme.lines().skip_while(|line| *line != "## Configuration").filter(|line| line.starts_with("| "));
        let (mut section, mut known) = (String::new(), std::collections::BTreeSet::new());
        for line in table {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let Some(name) = cells[1].strip_prefix("`[") {
                name.trim_end_matches("]`").clone_into(&mut section);
            }
            known.extend(cells[2].split(' ').map(|key| format!("{section}.{}", key.trim_matches('`'))));
        }
        let mut within = "";
        for line in TEMPLATE.lines() {
            let line = line.strip_prefix('#').unwrap_or(line);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                within = name;
            }
            let key = line.split_once(" = ").map(|(key, _)| key).filter(|key| !key.contains(' '));
            // A code of lint stands for all of them.
            let named = key.filter(|key| !(within == "policy" && key.contains('-')));
            assert!(named.is_none_or(|key| known.contains(&format!("{within}.{key}"))), "[{within}] {line}");
        }
    }
}
