//! The shadow: a private server is really started, asked for what the target needs, and thrown away.

use std::time::Instant;

use crate::postgres::database::{self, DatabaseProperties, HostedOn};
use crate::postgres::{
    ClusterError, ClusterOptions, Confinement, MarkKind, PrivateCluster, Programs, ServerIdentity, Session, catalog,
    shareable_settings,
};
use crate::report::{format_bytes, format_duration, format_list, format_things};
use crate::workflow::shadow::{ShadowCache, start_empty};
use crate::workflow::{Operator, Project};

use super::check::{Check, explain};
use super::server::Reached;
use super::space;

const PROGRAMS: &str = "server programs";
const SHADOW: &str = "shadow";
const EXTENSIONS: &str = "extensions";
const LOCALE: &str = "locale";
const CACHE: &str = "shadow cache";
/// A database of the private server; the target's name may be taken there.
const PROBE: &str = "safe_migrate_doctor";

/// Everything that a rehearsal needs on this machine.
pub(super) async fn checks(project: &Project, reached: &Reached, operator: &dyn Operator) -> Vec<Check> {
    let mut checks = Vec::new();
    match (&reached.identity, &reached.programs) {
        (Some(identity), Some(programs)) => match programs.check_has_server() {
            Ok(()) => {
                checks.push(Check::ok(PROGRAMS, format!("initdb and postgres in {}", programs.dir().display())));
                operator.step("starting a private server");
                checks.extend(private_server(project, reached, identity, programs).await);
            }
            Err(error) => {
                checks.push(Check::failed(PROGRAMS, explain(&error), Some(error.hint())));
                checks.extend(none_tried([SHADOW, EXTENSIONS, LOCALE], "the server programs"));
            }
        },
        (identity, _) => {
            let missing = if identity.is_none() { "the server's version" } else { "the programs" };
            checks.extend(none_tried([PROGRAMS, SHADOW, EXTENSIONS, LOCALE], missing));
        }
    }
    // The restored database and the copy that it is compared with.
    let needed = reached.database_bytes().map(|bytes| bytes.saturating_mul(2));
    checks.push(space::check("shadow space", &project.shadow_dir, needed, "name a larger disk in [shadow] dir"));
    checks.extend(project.shadow_cache().map(|cache| kept(&cache)));
    checks
}

/// What is kept of earlier rehearsals: production's rows lie there.
fn kept(cache: &ShadowCache) -> Check {
    let (place, most) = (cache.dir().display(), format_bytes(cache.limit()));
    match cache.entries() {
        Ok(entries) => {
            let bytes = format_bytes(entries.iter().map(|(_, bytes)| bytes).sum());
            let shadows = format_things(entries.len() as u64, "restored shadow");
            Check::ok(CACHE, format!("{shadows} with {bytes} of at most {most} in {place}"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok(CACHE, format!("empty; at most {most} in {place}"))
        }
        Err(error) => {
            Check::warn(CACHE, format!("{place} cannot be read: {error}"), "remove it, or name another [shadow] dir")
        }
    }
}

fn none_tried<const N: usize>(names: [&'static str; N], missing: &str) -> [Check; N] {
    names.map(|name| Check::not_tried(name, missing))
}

async fn private_server(
    project: &Project,
    reached: &Reached,
    identity: &ServerIdentity,
    programs: &Programs,
) -> Vec<Check> {
    let started = Instant::now();
    let cluster = match start(project, identity, programs).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let mut checks = vec![Check::failed(SHADOW, explain(&error), error.hint())];
            checks.extend(none_tried([EXTENSIONS, LOCALE], "the shadow"));
            return checks;
        }
    };
    let took = format_duration(started.elapsed());
    let fit = match cluster.spec("postgres").connect("safe-migrate doctor").await {
        Ok(session) => fit(reached, &session).await,
        Err(error) => [EXTENSIONS, LOCALE].map(|name| Check::failed(name, explain(&error), None)),
    };
    let reach = match cluster.confinement() {
        Confinement::Confined(walls) => format!("cut off from the network and from other servers {}", walls.words()),
        Confinement::Open { why } => format!("NOT cut off from the network: {why}"),
    };
    let shadow = match cluster.stop().await {
        Ok(()) => Check::ok(SHADOW, format!("a private server started in {took}, {reach}, and is gone again")),
        Err(error) => Check::failed(SHADOW, explain(&error), error.hint()),
    };
    std::iter::once(shadow).chain(fit).collect()
}

/// Starts it as a rehearsal does.
async fn start(
    project: &Project,
    identity: &ServerIdentity,
    programs: &Programs,
) -> Result<PrivateCluster, ClusterError> {
    let options = ClusterOptions {
        programs: programs.clone(),
        superuser: identity.bootstrap_role.clone(),
        parent_dir: project.shadow_dir.clone(),
        run_as: None,
        confine: true,
        settings: shareable_settings(&identity.settings),
    };
    start_empty(project, options).await
}

/// Whether the target's extensions and locale are there too.
async fn fit(reached: &Reached, shadow: &Session) -> [Check; 2] {
    let (Some(target), Some(properties)) = (&reached.target, &reached.properties) else {
        return none_tried([EXTENSIONS, LOCALE], "the database");
    };
    [extensions(target, shadow).await, locale(properties, shadow).await]
}

async fn extensions(target: &Session, shadow: &Session) -> Check {
    let compared = async {
        let installed: Vec<String> =
            catalog::extensions(target).await?.into_iter().map(|extension| extension.name).collect();
        let missing = catalog::missing_extensions(shadow, &installed).await?;
        Ok::<_, crate::postgres::DatabaseError>((installed, missing))
    };
    match compared.await {
        Err(error) => Check::failed(EXTENSIONS, explain(&error), None),
        Ok((installed, missing)) if missing.is_empty() => {
            Check::ok(EXTENSIONS, format!("the shadow has all that are used: {}", installed.join(", ")))
        }
        Ok((_, missing)) => {
            let finding = format!("the database uses what this machine's programs lack: {}", format_list(&missing));
            let remedy = "install the packages of these extensions for the same PostgreSQL version on this machine";
            Check::failed(EXTENSIONS, finding, Some(remedy.to_owned()))
        }
    }
}

async fn locale(properties: &DatabaseProperties, shadow: &Session) -> Check {
    let name = properties.provider_locale.as_ref().unwrap_or(&properties.collate);
    let described = format!("{name} ({})", properties.encoding);
    match database::create(shadow, PROBE, properties, MarkKind::Shadow, HostedOn::Private).await {
        Ok(_) => Check::ok(LOCALE, described),
        Err(error) => {
            let finding = format!("the shadow cannot have the database's {described}: {}", explain(&error));
            let remedy = "install the locale on this machine (Debian, Ubuntu: dpkg-reconfigure locales)";
            Check::failed(LOCALE, finding, Some(remedy.to_owned()))
        }
    }
}
