//! The server: reachable, of a version that is supported, encrypted, without a pooler, a primary, its clock.

use time::OffsetDateTime;

use crate::postgres::database::DatabaseProperties;
use crate::postgres::{
    Capabilities, ConnectionError, ConnectionSpec, DatabaseError, Programs, ServerIdentity, Session, is_behind_pooler,
};
use crate::workflow::{Error, Project};

use super::check::{Check, explain};

/// The oldest major version that is supported.
const OLDEST_MAJOR: u32 = 14;
/// Seconds between the two clocks above which times in reports mislead.
const CLOCK_LIMIT: f64 = 5.0;

/// What of the server was reached. Each part is there, or its check says why not.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) target: Option<Session>,
    pub(super) maintenance: Option<Session>,
    pub(super) identity: Option<ServerIdentity>,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) properties: Option<DatabaseProperties>,
    pub(super) programs: Option<Programs>,
    /// The server's clock less ours, in seconds.
    clock_offset: f64,
    checks: Vec<Check>,
}

impl Reached {
    /// Bytes of the target database.
    pub(super) fn database_bytes(&self) -> Option<u64> {
        self.properties.as_ref().and_then(|properties| u64::try_from(properties.bytes).ok())
    }
}

/// Connects to the target and to the maintenance database, and asks what everything else rests on.
pub(super) async fn reach(project: &Project) -> Reached {
    let mut reached = Reached::default();
    let target = project.target.connect("safe-migrate doctor").await;
    let maintenance = match &target {
        Err(error) if !is_about_the_database(error) => {
            reached.checks.push(Check::failed("server", explain(error), error.hint().map(str::to_owned)));
            reached.checks.extend(["database", "maintenance"].map(|name| Check::not_tried(name, "the server")));
            return reached;
        }
        _ => project.maintenance_session().await,
    };
    let facts = match target.as_ref().ok().or(maintenance.as_ref().ok()) {
        Some(session) => read_facts(project, session, &mut reached).await,
        // The server answered: both refusals are told below.
        None => Ok(Check::not_tried("server", "a database that takes connections")),
    };
    reached.checks.push(facts.unwrap_or_else(|error| Check::failed("server", explain(&error), None)));
    let database = database_check(project, &target, &mut reached.properties).await;
    reached.checks.extend([database, maintenance_check(project, &maintenance)]);
    reached.target = target.ok();
    reached.maintenance = maintenance.ok();
    reached.programs = reached.identity.as_ref().and_then(|identity| project.programs(identity.major()).ok());
    reached
}

/// Whether the server answered, and only this database cannot be used.
fn is_about_the_database(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::DatabaseMissing { .. } | ConnectionError::NotAllowed { .. })
}

async fn read_facts(project: &Project, session: &Session, reached: &mut Reached) -> Result<Check, DatabaseError> {
    let identity = ServerIdentity::read(session).await?;
    let before = OffsetDateTime::now_utc();
    let capabilities = Capabilities::read(session, project.target.database()).await?;
    // The server read its clock somewhere between our two readings.
    let ours = before + (OffsetDateTime::now_utc() - before) / 2;
    let offset: time::Duration = capabilities.clock - ours;
    let check = version_check(&identity, &project.target);
    reached.clock_offset = offset.as_seconds_f64();
    reached.identity = Some(identity);
    reached.capabilities = Some(capabilities);
    Ok(check)
}

fn version_check(identity: &ServerIdentity, target: &ConnectionSpec) -> Check {
    let finding = format!("PostgreSQL {} at {}", identity.version, target.display());
    if identity.major() < OLDEST_MAJOR {
        let remedy = format!("upgrade the server: versions {OLDEST_MAJOR} and later are supported");
        return Check::failed("server", finding, Some(remedy));
    }
    Check::ok("server", finding)
}

async fn database_check(
    project: &Project,
    target: &Result<Session, ConnectionError>,
    properties: &mut Option<DatabaseProperties>,
) -> Check {
    const NAME: &str = "database";
    let session = match target {
        Ok(session) => session,
        Err(error) => return Check::failed(NAME, explain(error), error.hint().map(str::to_owned)),
    };
    match DatabaseProperties::read(session).await {
        Ok(read) => *properties = Some(read),
        Err(error) => return Check::failed(NAME, explain(&error), None),
    }
    Check::ok(NAME, format!("\"{}\", source \"{}\"", project.target.database(), project.source))
}

fn maintenance_check(project: &Project, session: &Result<Session, Error>) -> Check {
    const NAME: &str = "maintenance";
    match session {
        Ok(_) => Check::ok(NAME, format!("\"{}\" takes connections", project.maintenance_database)),
        Err(error) => {
            let remedy = "the lock and the commands on databases need one: name another in [database] maintenance";
            Check::failed(NAME, explain(error), Some(remedy.to_owned()))
        }
    }
}

/// Everything about the server and the way to it.
pub(super) async fn checks(project: &Project, reached: &Reached) -> Vec<Check> {
    let mut checks = reached.checks.clone();
    let (Some(identity), Some(capabilities)) = (&reached.identity, &reached.capabilities) else {
        checks.extend(["encryption", "pooler", "primary", "clock"].map(|name| Check::not_tried(name, "the server")));
        checks.push(programs_of_any_version(project));
        return checks;
    };
    let enforced = reached.target.as_ref().or(reached.maintenance.as_ref()).is_some_and(Session::is_tls_enforced);
    checks.push(encryption_check(project.target.is_local(), capabilities, enforced));
    checks.push(pooler_check(project, reached).await);
    checks.push(primary_check(identity));
    checks.push(clock_check(reached.clock_offset));
    checks.push(programs_check(project, identity));
    checks
}

fn encryption_check(is_local: bool, capabilities: &Capabilities, enforced: bool) -> Check {
    const NAME: &str = "encryption";
    match &capabilities.tls {
        Some(tls) if enforced || is_local => Check::ok(NAME, format!("{} ({})", tls.version, tls.cipher)),
        Some(tls) => Check::warn(
            NAME,
            format!("{} ({}), but sslmode would go on without it", tls.version, tls.cipher),
            "demand it with sslmode=require, or better sslmode=verify-full",
        ),
        None if is_local => Check::ok(NAME, "none, and the server is on this machine"),
        None => Check::warn(
            NAME,
            "none: rows and passwords can be read on the way from a remote server",
            "turn on ssl on the server and use sslmode=verify-full",
        ),
    }
}

async fn pooler_check(project: &Project, reached: &Reached) -> Check {
    const NAME: &str = "pooler";
    let spec = match &reached.target {
        Some(_) => project.target.clone(),
        None => project.database(&project.maintenance_database),
    };
    match is_behind_pooler(&spec).await {
        Ok(false) => Check::ok(NAME, "none in the way"),
        Ok(true) => {
            let finding = Error::Pooler(spec.display()).to_string();
            Check::failed(NAME, finding, Some("give the address of the server itself with --database".to_owned()))
        }
        Err(error) => Check::failed(NAME, explain(&error), error.hint().map(str::to_owned)),
    }
}

fn primary_check(identity: &ServerIdentity) -> Check {
    if identity.in_recovery {
        let remedy = "give the address of the primary with --database".to_owned();
        return Check::failed("primary", "the server is a standby: nothing can be migrated there", Some(remedy));
    }
    Check::ok("primary", "the server takes writes")
}

fn clock_check(offset: f64) -> Check {
    let direction = if offset < 0.0 { "behind" } else { "ahead of" };
    let finding = format!("the server's is {:.1} s {direction} this machine's", offset.abs());
    if offset.abs() > CLOCK_LIMIT {
        return Check::warn("clock", finding, "set both by NTP; until then ages and times in reports mislead");
    }
    Check::ok("clock", finding)
}

fn programs_check(project: &Project, identity: &ServerIdentity) -> Check {
    const NAME: &str = "programs";
    let found = Programs::find(identity.major(), project.bin_dir.as_deref(), &project.environment);
    let checked = found.and_then(|programs| programs.check_not_older_than(identity.version_num).map(|()| programs));
    match checked {
        Ok(programs) => Check::ok(NAME, format!("PostgreSQL {} in {}", programs.version(), programs.dir().display())),
        Err(error) => Check::failed(NAME, explain(&error), Some(error.hint())),
    }
}

/// What is installed, for a reader whose server cannot be asked which version it needs.
fn programs_of_any_version(project: &Project) -> Check {
    let mut check = Check::not_tried("programs", "the server's version");
    let found: Vec<String> = Programs::all_found(&project.environment)
        .iter()
        .map(|programs| format!("{} in {}", programs.version(), programs.dir().display()))
        .collect();
    if !found.is_empty() {
        check.finding.push_str(&format!("; on this machine: {}", found.join(", ")));
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Tls;
    use crate::workflow::doctor::CheckState;

    fn capabilities(tls: bool) -> Capabilities {
        Capabilities {
            role: "deploy".to_owned(),
            superuser: false,
            create_databases: false,
            end_sessions: false,
            owns_target: None,
            tls: tls.then(|| Tls { version: "TLSv1.3".to_owned(), cipher: "AES".to_owned() }),
            clock: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn plain_text_is_fine_on_this_machine_only() {
        let state = |is_local, tls, enforced| encryption_check(is_local, &capabilities(tls), enforced).state;
        assert_eq!(state(true, false, false), CheckState::Ok);
        assert_eq!(state(false, false, false), CheckState::Warn);
        assert_eq!(state(false, true, false), CheckState::Warn);
        assert_eq!(state(false, true, true), CheckState::Ok);
    }

    #[test]
    fn clocks_may_differ_by_seconds_in_either_direction() {
        assert_eq!(clock_check(-4.9).state, CheckState::Ok);
        assert_eq!(clock_check(5.1).state, CheckState::Warn);
        let behind = clock_check(-61.0);
        assert_eq!(
            (behind.state, behind.finding.as_str()),
            (CheckState::Warn, "the server's is 61.0 s behind this machine's")
        );
    }

    #[test]
    fn a_version_before_the_oldest_is_refused() {
        let target = ConnectionSpec::parse(Some("postgres://u@h/d"), &Default::default()).unwrap();
        let identity = |version_num| ServerIdentity {
            version: "x".to_owned(),
            version_num,
            system_identifier: String::new(),
            in_recovery: false,
            bootstrap_role: "postgres".to_owned(),
            settings: Default::default(),
        };
        assert_eq!(version_check(&identity(130_020), &target).state, CheckState::Failed);
        assert_eq!(version_check(&identity(140_000), &target).state, CheckState::Ok);
    }
}
