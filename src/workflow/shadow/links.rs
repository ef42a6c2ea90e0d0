//! What reaches out of a database: left out of the shadow, refused in a plan, or named in the report.

use crate::lint::{Reach, ReachOut, reach_out};
use crate::migration::Plan;
use crate::postgres::{Confinement, DatabaseError, Session};
use crate::snapshot::Manifest;

use super::super::Error;

/// Kinds of archive entries that reach out of the database: never restored into a shadow. Dropping a subscription in a
/// copy drops the real slot, and a foreign table with its user mapping wrote into the real remote (both tried).
pub const OUTSIDE_LINKS: &[&str] = &["SUBSCRIPTION", "USER MAPPING"];

/// The list of an archive's entries without [`OUTSIDE_LINKS`], for `pg_restore --use-list`.
pub fn without_outside_links(list: &[String]) -> Vec<String> {
    list.iter().filter(|line| outside_link(line).is_none() && !is_said_of_one(line)).cloned().collect()
}

/// Whether an entry is the comment or the label of one.
fn is_said_of_one(line: &str) -> bool {
    let entry = line.splitn(4, ' ').nth(3).unwrap_or_default();
    let said = ["COMMENT - ", "SECURITY LABEL - "].iter().find_map(|kind| entry.strip_prefix(kind));
    said.is_some_and(|of| OUTSIDE_LINKS.iter().any(|outside| of.starts_with(outside)))
}

/// What [`without_outside_links`] leaves out: `SUBSCRIPTION - name owner`.
pub fn outside_links(list: &[String]) -> Vec<String> {
    list.iter().filter_map(|line| outside_link(line)).map(str::to_owned).collect()
}

fn outside_link(line: &str) -> Option<&str> {
    // "123; 6100 16490 SUBSCRIPTION - name owner"
    let entry = line.splitn(4, ' ').nth(3).unwrap_or_default();
    (!line.starts_with(';') && OUTSIDE_LINKS.iter().any(|outside| entry.starts_with(outside))).then_some(entry)
}

/// Extensions whose functions or tables lead to other servers or run programs, by the beginning of their names.
const REACHING_EXTENSIONS: &[&str] = &[
    "aws_",
    "dblink",
    "http",
    "mysql_fdw",
    "oracle_fdw",
    "pg_cron",
    "pg_net",
    "pglogical",
    "plperlu",
    "plpython3u",
    "plsh",
    "postgres_fdw",
    "tds_fdw",
];

/// What holds a shadow back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// A private server of our own.
    Private(Confinement),
    /// A server that others use too.
    Shared,
}

impl Bounds {
    /// Why other servers can be reached; none: they cannot.
    fn open(&self) -> Option<String> {
        match self {
            Self::Private(Confinement::Confined(_)) => None,
            Self::Private(Confinement::Open { why }) => {
                Some(format!("this machine does not let the private server be cut off from the network ({why})"))
            }
            Self::Shared => Some("a server named in [shadow] url is not cut off from the network".to_owned()),
        }
    }

    /// Refuses a plan that would reach out of the shadow; what it would have reached and cannot is said.
    ///
    /// Where nothing cuts the server off, the text of a plan proves nothing, because SQL can be put together while it runs:
    /// then it goes by what the role may do and by what is installed.
    pub fn judge(
        &self,
        plan: &Plan,
        manifest: &Manifest,
        rights: &[Right],
        allowed: &Allowed<'_>,
    ) -> Result<Vec<String>, Error> {
        let found = reach_out(plan);
        let of = |reach: Reach| found.iter().filter(move |one| one.reach == reach);
        let machine: Vec<&ReachOut> = of(Reach::Machine).collect();
        if !machine.is_empty() {
            return Err(refused(&machine, "files and programs of a machine are no part of the shadow"));
        }
        let cluster: Vec<&ReachOut> = of(Reach::Cluster).collect();
        if *self == Self::Shared && !cluster.is_empty() {
            return Err(refused(&cluster, "that would change the server that others use too"));
        }
        let mut said: Vec<String> = cluster
            .iter()
            .filter(|one| one.what == "ALTER SYSTEM")
            .map(|one| {
                format!("{one} changed the shadow's own server, which is gone; in production it is for all databases")
            })
            .collect();
        let network: Vec<&ReachOut> = of(Reach::Network).collect();
        let extensions = reaching_extensions(manifest);
        let Some(why) = self.open() else {
            if let Self::Private(Confinement::Confined(walls)) = self
                && (walls.own.is_some() || walls.namespaces.is_some())
            {
                said.push(format!("the private server was {}", walls.words()));
            }
            said.extend(neutralised(&network, &extensions));
            return Ok(said);
        };
        if !network.is_empty() && !allowed.network {
            return Err(refused(&network, &why));
        }
        let (by_network, left): (Vec<String>, Vec<String>) =
            extensions.into_iter().filter(|name| !allowed.unconfined.contains(name)).partition(|_| allowed.network);
        if !left.is_empty() {
            return Err(refused_extensions(&left, &why));
        }
        // A server that others use has rights of its own, which the operator gave.
        let rights = rights.iter().filter(|_| *self != Self::Shared);
        let (accepted, left): (Vec<&Right>, Vec<&Right>) =
            rights.partition(|right| allowed.unconfined.iter().any(|name| name == right.name));
        if !left.is_empty() {
            return Err(refused_rights(&left, &why));
        }
        let what = network.iter().map(ToString::to_string).chain(by_network).collect::<Vec<_>>().join(", ");
        if !what.is_empty() {
            said.push(format!("{why}; [shadow] allow_network lets it reach out by: {what}"));
        }
        if !accepted.is_empty() || !allowed.unconfined.is_empty() {
            said.push(format!("{why}; [shadow] unconfined accepts: {}", allowed.unconfined.join(", ")));
        }
        Ok(said)
    }
}

/// What the operator lets a shadow do that nothing cuts off.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// `[shadow] allow_network`.
    pub network: bool,
    /// `[shadow] unconfined`: names of extensions, and of rights.
    pub unconfined: &'a [String],
}

/// A right of the role that migrates, with which a statement that no text shows reaches the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Its name in `[shadow] unconfined`.
    pub name: &'static str,
    /// What it is, in words.
    pub words: String,
}

impl Right {
    /// The rights of a role on the server that `session` is connected to.
    pub async fn of(session: &Session, role: &str) -> Result<Vec<Right>, DatabaseError> {
        let right = |name, words: &str| Right { name, words: format!("role \"{role}\" {words}") };
        let sql = "SELECT r.rolsuper, pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER'),
                          pg_catalog.pg_has_role(r.oid, 'pg_write_server_files', 'MEMBER')
                     FROM pg_catalog.pg_roles r WHERE r.rolname = $1::name";
        let Some(row) = session.query_opt(sql, &[&role]).await? else { return Ok(Vec::new()) };
        if row.get(0) {
            // A member of every role.
            return Ok(vec![right("superuser", "is a superuser")]);
        }
        let programs = row.get::<_, bool>(1).then(|| right("pg_execute_server_program", "may run programs there"));
        let files = row.get::<_, bool>(2).then(|| right("pg_write_server_files", "may write files there"));
        Ok(programs.into_iter().chain(files).collect())
    }
}

fn reaching_extensions(manifest: &Manifest) -> Vec<String> {
    let is_untrusted_language = |name: &str| name.starts_with("pl") && name.ends_with('u');
    let reaches = |name: &str| {
        REACHING_EXTENSIONS.iter().any(|start| name.starts_with(start))
            || name.ends_with("_fdw")
            || is_untrusted_language(name)
    };
    manifest.extensions.iter().map(|one| one.name.clone()).filter(|name| reaches(name)).collect()
}

fn neutralised(network: &[&ReachOut], extensions: &[String]) -> Vec<String> {
    let mut said: Vec<String> =
        network.iter().map(|one| format!("{one} could not reach any other server from the shadow")).collect();
    if !extensions.is_empty() {
        said.push(format!("the shadow had no network; what goes through {} fails there", extensions.join(", ")));
    }
    said
}

fn refused(found: &[&ReachOut], why: &str) -> Error {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Error::ShadowRefused {
        message: format!("not rehearsed, because {why}: {}", found.join("; ")),
        hint: "do that by hand, outside the migrations, or apply with --skip-rehearsal REASON".to_owned(),
    }
}

fn refused_rights(rights: &[&Right], why: &str) -> Error {
    let words: Vec<&str> = rights.iter().map(|right| right.words.as_str()).collect();
    let names: Vec<String> = rights.iter().map(|right| format!("\"{}\"", right.name)).collect();
    Error::ShadowRefused {
        message: format!("not rehearsed, because {}, and {why}", words.join(", ")),
        hint: format!(
            "let a role without that migrate; rehearse on Linux 5.13 or later, where the private server has walls of its \
             own; or, when you know what the migrations do, set unconfined = [{}] in [shadow]",
            names.join(", ")
        ),
    }
}

fn refused_extensions(extensions: &[String], why: &str) -> Error {
    Error::ShadowRefused {
        message: format!("not rehearsed, because the database uses {}, and {why}", extensions.join(", ")),
        hint:
            "rehearse with a private server where `unshare --net` works (as root, or with user namespaces); or, when \
               nothing that the migrations call leads to a server that matters, set allow_network = true in [shadow]"
                .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_links_are_left_out() {
        let list: Vec<String> = [
            "; Archive created at …",
            "221; 1259 16493 TABLE public t postgres",
            "3435; 6100 16500 SUBSCRIPTION - sub postgres",
            "3436; 1418 16501 USER MAPPING - USER MAPPING a SERVER b postgres",
            "3437; 0 0 COMMENT - SUBSCRIPTION sub postgres",
        ]
        .map(str::to_owned)
        .to_vec();
        let left_out = ["SUBSCRIPTION - sub postgres", "USER MAPPING - USER MAPPING a SERVER b postgres"];
        assert_eq!(outside_links(&list), left_out);
        assert_eq!(without_outside_links(&list), ["; Archive created at …", "221; 1259 16493 TABLE public t postgres"]);
    }
}
