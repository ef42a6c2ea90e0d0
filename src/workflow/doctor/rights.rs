//! What the role may do: what a restore needs to make a database and put it in the place of another.

use crate::postgres::{Capabilities, swap as swapping};
use crate::workflow::Project;

use super::check::{Check, explain};
use super::server::Reached;

/// Rights of the role, and what stands in the way of a swap now.
pub(super) async fn checks(project: &Project, reached: &Reached) -> Vec<Check> {
    let Some(capabilities) = &reached.capabilities else {
        let names = ["create databases", "end sessions", "swap"];
        return names.map(|name| Check::not_tried(name, "the server")).to_vec();
    };
    let mut checks = vec![create_databases(capabilities), end_sessions(capabilities)];
    let session = reached.maintenance.as_ref().or(reached.target.as_ref());
    checks.push(match session {
        None => Check::not_tried("swap", "a session"),
        Some(session) => match swapping::obstacles(session, project.target.database()).await {
            Ok(obstacles) if project.target.database() != project.maintenance_database => {
                swap(capabilities, project.target.database(), &obstacles)
            }
            Ok(_) => maintained_from_itself(project.target.database()),
            Err(error) => Check::failed("swap", explain(&error), None),
        },
    });
    checks
}

/// PostgreSQL renames no database that the session is connected to.
fn maintained_from_itself(target: &str) -> Check {
    let finding = format!("\"{target}\" is the maintenance database too, and a session cannot rename its own database");
    Check::warn("swap", finding, "name another one in [database] maintenance, such as template1")
}

fn create_databases(capabilities: &Capabilities) -> Check {
    let role = &capabilities.role;
    if capabilities.create_databases {
        return Check::ok("create databases", format!("role \"{role}\" may"));
    }
    let finding = format!("role \"{role}\" may not, so nothing could be restored on this server");
    Check::failed("create databases", finding, Some(format!("as a superuser: ALTER ROLE \"{role}\" CREATEDB")))
}

fn end_sessions(capabilities: &Capabilities) -> Check {
    let role = &capabilities.role;
    if capabilities.superuser {
        return Check::ok("end sessions", format!("role \"{role}\" may"));
    }
    if capabilities.end_sessions {
        // pg_terminate_backend() refuses pg_signal_backend when the other one is a superuser.
        return Check::ok("end sessions", format!("role \"{role}\" may, but for those of superusers"));
    }
    let finding = format!("role \"{role}\" may not end those of other roles, and a swap waits for the last one to end");
    Check::warn("end sessions", finding, format!("as a superuser: GRANT pg_signal_backend TO \"{role}\""))
}

fn swap(capabilities: &Capabilities, target: &str, obstacles: &[String]) -> Check {
    const NAME: &str = "swap";
    if !obstacles.is_empty() {
        let finding = format!("\"{target}\" could not be swapped now: {}", obstacles.join("; "));
        return Check::warn(
            NAME,
            finding,
            "they must end before a swap; until then a restore goes beside it, with --to",
        );
    }
    match capabilities.owns_target {
        Some(false) => {
            let role = &capabilities.role;
            let finding = format!("role \"{role}\" does not own \"{target}\", so it cannot rename it");
            Check::failed(
                NAME,
                finding,
                Some(format!("as a superuser: ALTER DATABASE \"{target}\" OWNER TO \"{role}\"")),
            )
        }
        _ if capabilities.create_databases => {
            Check::ok(NAME, format!("a restored database can take the place of \"{target}\""))
        }
        _ => Check::not_tried(NAME, "the right to create a database"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::doctor::CheckState;

    fn role(may: bool, owns_target: Option<bool>) -> Capabilities {
        Capabilities {
            role: "deploy".to_owned(),
            superuser: false,
            create_databases: may,
            end_sessions: may,
            owns_target,
            tls: None,
            clock: time::OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_role_without_rights_is_told_the_statement_that_gives_them() {
        let plain = role(false, Some(true));
        let remedy = |check: Check| (check.state, check.remedy.unwrap_or_default());
        let failed = |text: &str| (CheckState::Failed, text.to_owned());
        assert_eq!(remedy(create_databases(&plain)), failed("as a superuser: ALTER ROLE \"deploy\" CREATEDB"));
        assert_eq!(end_sessions(&plain).state, CheckState::Warn);
    }

    #[test]
    fn a_swap_needs_ownership_rights_and_no_obstacle() {
        assert_eq!(swap(&role(true, Some(true)), "shop", &[]).state, CheckState::Ok);
        // A database that is gone is restored under its own name.
        assert_eq!(swap(&role(true, None), "shop", &[]).state, CheckState::Ok);
        assert_eq!(swap(&role(true, Some(false)), "shop", &[]).state, CheckState::Failed);
        assert_eq!(swap(&role(false, Some(true)), "shop", &[]).state, CheckState::NotTried);
        let slot = ["replication slot a of shop".to_owned()];
        let obstructed = swap(&role(true, Some(true)), "shop", &slot);
        assert_eq!(obstructed.state, CheckState::Warn);
        assert!(obstructed.finding.contains("replication slot a"));
    }
}
