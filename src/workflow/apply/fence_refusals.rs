//! What cannot be fenced, and what is said of those who stand in the way.

use crate::migration::PlanStep;
use crate::postgres::fence::{self, Holder};
use crate::postgres::{DatabaseError, database};
use crate::report::format_list;

use super::super::{Error, Gate};
use super::Run;

impl Run<'_> {
    /// A program connects by itself: a fence would keep it out, or make it wait for us.
    pub(super) fn refuse_programs(&self) -> Result<(), Error> {
        let program = |step: &&PlanStep| step.section().is_some_and(|section| section.program.is_some());
        let Some(step) = self.prepared.plan.steps.iter().find(program) else { return Ok(()) };
        Err(Gate::Fence {
            message: format!("{} is a program, which a fence would keep out too", step.migration.id),
            hint: format!(
                "apply up to the one before it with the fence, then `safe-migrate apply {} {}` without",
                step.migration.id.app, step.migration.id.name
            ),
        }
        .into())
    }

    pub(super) fn refuse_outside_steps(&self) -> Result<(), Error> {
        let outside = |step: &&PlanStep| step.section().is_some_and(|section| !section.transaction);
        let Some(step) = self.prepared.plan.steps.iter().find(outside) else { return Ok(()) };
        Err(Gate::Fence {
            message: format!(
                "{} runs outside a transaction, and --fence runs all migrations in one",
                step.migration.id
            ),
            hint: "use --fence=closed: it ends all sessions and lets none in while the migrations run".to_owned(),
        }
        .into())
    }

    /// Whether this role may close the database and end the sessions in it, asked before the snapshot.
    pub(super) async fn refuse_without_rights(&self) -> Result<(), Error> {
        let (maintenance, target) = (&self.prepared.server.maintenance, self.project.target.database());
        if database::current(maintenance).await? == target {
            return Err(Gate::Fence {
                message: format!("\"{target}\" cannot be closed from a session in itself"),
                hint: "name another database of the server in [database] maintenance".to_owned(),
            }
            .into());
        }
        fence::probe_rights(maintenance, target).await.map_err(|error| {
            if !error.has_sqlstate("42501") {
                return Error::from(error);
            }
            Error::from(Gate::Fence {
                message: format!(
                    "--fence=closed: role \"{}\" may not close \"{target}\": {}",
                    self.project.target.user(),
                    error.message
                ),
                hint: "connect as the owner of the database, or as a superuser".to_owned(),
            })
        })?;
        let others = fence::other_sessions(maintenance, target, &[self.prepared.session.backend_pid()]).await?;
        refuse_unendable(&others.into_iter().filter(|other| !other.may_end).collect::<Vec<_>>())
    }
}

pub(super) fn refuse_prepared(database: &str, gids: &[String]) -> Result<(), Error> {
    if gids.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = gids.iter().map(|gid| format!("\"{gid}\"")).collect();
    let by_hand: Vec<String> = gids.iter().map(|gid| crate::postgres::fence::end_prepared_by_hand(gid)).collect();
    Err(Gate::Fence {
        message: format!(
            "prepared transactions of \"{database}\" hold locks on its tables, and no session can be ended for them: {}",
            format_list(&names)
        ),
        hint: format!("end them in \"{database}\": {}", by_hand.join("; ")),
    }
    .into())
}

pub(super) fn refuse_unendable(left: &[Holder]) -> Result<(), Error> {
    if left.is_empty() {
        return Ok(());
    }
    let words: Vec<&str> = left.iter().map(|holder| holder.words.as_str()).collect();
    Err(Gate::Fence {
        message: format!("sessions that are in the way cannot be ended: {}", words.join("; ")),
        hint: "end them by hand, or connect as a superuser".to_owned(),
    }
    .into())
}

pub(super) fn still_held(error: &DatabaseError, holders: &[Holder]) -> Error {
    let words: Vec<&str> = holders.iter().map(|holder| holder.words.as_str()).collect();
    let words = if words.is_empty() { error.message.clone() } else { words.join("; ") };
    Gate::Fence {
        message: format!("the tables could not be locked against writers: {words}"),
        hint: "end what holds the locks, or raise [apply] lock_timeout or retries".to_owned(),
    }
    .into()
}
