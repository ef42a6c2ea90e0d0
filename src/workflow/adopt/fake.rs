//! `apply --fake`: what a migration makes is there already, so it is recorded and not run. `--fake-initial` does that for
//! the first migration of each app where it is true, and `rollback --fake` forgets what is not there any more.
//!
//! Django and Flyway take the operator's word for it. Here the migration runs in a private database, behind all that is
//! applied, and each object that it wrote or removed there is looked for in production.

use std::sync::Arc;
use std::time::Duration;

use crate::migration::{Direction, Migration, MigrationId, Plan};
use crate::postgres::ledger::How;
use crate::report::{format_list, format_things};
use crate::schema::Schema;

use super::super::replay::Replay;
use super::super::state::{Selection, State};
use super::super::{Error, Gate, Interrupt, Operator, Project};
use super::ledger_run::{LedgerChange, LedgerReport, LedgerRun};

/// Lines of a difference that are shown.
const SHOWN: usize = 60;

/// Which migrations are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeScope {
    /// All of the selection.
    All,
    /// The first migration of each app whose objects are there (`--fake-initial`).
    Initial,
}

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct FakeRequest {
    /// Which migrations, in which direction.
    pub selection: Selection,
    /// Which of them.
    pub scope: FakeScope,
    /// The command in words, for the records.
    pub command: String,
    /// `--force-fake REASON`: without the check.
    pub force: Option<String>,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// Whether to stop after the check.
    pub dry_run: bool,
}

/// A migration that counts as applied without having been run, or as not applied without having been undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faked {
    /// Which.
    pub migration: MigrationId,
    /// How many objects of it were found as they should be; none: it was not checked.
    pub objects: Option<usize>,
}

/// How it ended well.
#[derive(Debug)]
pub enum FakeOutcome {
    /// Nothing to record.
    Nothing,
    /// `--dry-run`: these would be recorded.
    Planned(Vec<Faked>),
    /// These are recorded.
    Done(Vec<Faked>, Box<LedgerReport>),
}

/// Checks and records.
pub async fn fake(
    project: &Project,
    request: &FakeRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<FakeOutcome, Error> {
    let run = LedgerRun::begin(project, (&request.command, request.wait), operator, interrupt).await?;
    let state = State::read(project, &run.session).await?;
    state.refuse_mixed(project).await?;
    let plan = plan(&state, &request.selection)?;
    state.refuse_disagreement(&plan)?;
    if plan.is_empty() {
        return Ok(FakeOutcome::Nothing);
    }
    let faked = match &request.force {
        Some(_) => {
            plan.steps.iter().map(|step| Faked { migration: step.migration.id.clone(), objects: None }).collect()
        }
        None => interrupt.or(checked(&run, &state, &plan, request.scope)).await?,
    };
    if faked.is_empty() {
        return Ok(FakeOutcome::Nothing);
    }
    if request.dry_run {
        return Ok(FakeOutcome::Planned(faked));
    }
    let verb = if plan.direction == Direction::Apply {
        "as applied, without running"
    } else {
        "as not applied, without undoing"
    };
    let it = if faked.len() == 1 { "it" } else { "them" };
    let names: Vec<String> = faked.iter().map(|one| one.migration.to_string()).collect();
    run.confirm(&format!("record {} {verb} {it}, in {}?", format_list(&names), project.target.display()))?;
    interrupt.check()?;
    let is_faked = |migration: &Migration| faked.iter().any(|one| one.migration == migration.id);
    let steps = plan.steps.iter().filter(|step| is_faked(&step.migration));
    let changes: Vec<LedgerChange> = steps
        .map(|step| match plan.direction {
            Direction::Apply => LedgerChange::Applied(step.migration.clone(), How::Fake),
            Direction::Rollback => LedgerChange::Forgotten(step.migration.clone()),
        })
        .collect();
    let bypass = request.force.as_ref().map(|why| format!("faked without a check: {why}"));
    let report = run.write(&changes, bypass).await?;
    Ok(FakeOutcome::Done(faked, Box::new(report)))
}

/// The plan of a selection; one that goes back needs no down sections.
fn plan(state: &State, selection: &Selection) -> Result<Plan, Error> {
    match selection {
        Selection::Back { app, target } => Ok(state.migrations.plan_forget(&state.applied, app, target)?),
        other => state.plan(other),
    }
}

async fn checked(run: &LedgerRun<'_>, state: &State, plan: &Plan, scope: FakeScope) -> Result<Vec<Faked>, Error> {
    run.operator.step("running them in a private database");
    let replay = Replay::start(run.project, &run.server).await?;
    let check = Check { run, state, plan, replay: &replay };
    let result = match scope {
        FakeScope::All => check.all().await,
        FakeScope::Initial => check.initial().await,
    };
    replay.stop().await?;
    result
}

struct Check<'a> {
    run: &'a LedgerRun<'a>,
    state: &'a State,
    plan: &'a Plan,
    replay: &'a Replay<'a>,
}

impl Check<'_> {
    fn applied(&self) -> Result<Vec<Arc<Migration>>, Error> {
        Ok(self.state.migrations.applied_in_order(&self.state.applied)?)
    }

    /// Every object of all of them must be there, or gone.
    async fn all(&self) -> Result<Vec<Faked>, Error> {
        let applied = self.applied()?;
        let steps: Vec<Arc<Migration>> = self.plan.steps.iter().map(|step| step.migration.clone()).collect();
        let (before, after, wrote) = match self.plan.direction {
            Direction::Apply => {
                let built = self.replay.empty().await?;
                self.replay.run(&built, &applied, Direction::Apply).await?;
                let before = self.replay.reached(&built).await?.schema;
                let wrote = self.replay.run(&built, &steps, Direction::Apply).await?;
                (before, self.replay.reached(&built).await?.schema, wrote)
            }
            Direction::Rollback => {
                let kept = applied.iter().filter(|one| !steps.iter().any(|step| step.id == one.id));
                let after = self.replay.build(kept).await?.schema;
                (self.replay.build(&applied).await?.schema, after, Vec::new())
            }
        };
        let production = self.replay.production().await?;
        let changes = after.changes_since(&before);
        let missing = production.without_effect_of(&changes);
        if !missing.is_empty() {
            let names: Vec<String> = steps.iter().map(|step| step.id.to_string()).collect();
            return Err(self.not_there(&format_list(&names), &missing.render(SHOWN)));
        }
        self.name_the_rest(&production, &after);
        for id in wrote {
            self.run.operator.warn(&format!("{id} writes rows; whether production has them is not checked"));
        }
        // One by one they were not told apart.
        let objects = if steps.len() == 1 { changes.written.len() + changes.removed.len() } else { 0 };
        let all = changes.written.len() + changes.removed.len();
        self.run.operator.step(&format!("{} found as they should be", format_things(all as u64, "object")));
        Ok(steps.iter().map(|step| Faked { migration: step.id.clone(), objects: Some(objects) }).collect())
    }

    /// Each first migration of an app: recorded where its objects are there, left to `apply` where none is.
    async fn initial(&self) -> Result<Vec<Faked>, Error> {
        let built = self.replay.empty().await?;
        self.replay.run(&built, &self.applied()?, Direction::Apply).await?;
        let production = self.replay.production().await?;
        let mut before = self.replay.reached(&built).await?.schema;
        let mut faked: Vec<Faked> = Vec::new();
        let mut left: Vec<MigrationId> = Vec::new();
        for step in &self.plan.steps {
            let (migration, graph) = (&step.migration, &self.state.migrations);
            let depends = graph.ancestors(&migration.id);
            let is_initial = graph.dependencies(&migration.id).iter().all(|one| one.app != migration.id.app);
            if !is_initial || depends.iter().any(|one| left.contains(one)) {
                left.push(migration.id.clone());
                continue;
            }
            self.replay.run(&built, [migration], Direction::Apply).await?;
            let after = self.replay.reached(&built).await?.schema;
            let changes = after.changes_since(&before);
            let missing = production.without_effect_of(&changes);
            let tables = changes.written.iter().filter(|entry| entry.kind == "TABLE").count();
            if missing.is_empty() && tables > 0 {
                let objects = Some(changes.written.len() + changes.removed.len());
                faked.push(Faked { migration: migration.id.clone(), objects });
            } else if tables > 0 && missing.only_left.iter().filter(|entry| entry.kind == "TABLE").count() < tables {
                return Err(self.not_there(&migration.id.to_string(), &missing.render(SHOWN)));
            } else {
                left.push(migration.id.clone());
            }
            before = after;
        }
        Ok(faked)
    }

    fn not_there(&self, names: &str, difference: &str) -> Error {
        let (what, hint) = match self.plan.direction {
            Direction::Apply => ("does not have all of", "apply it"),
            Direction::Rollback => ("still has something of", "roll it back"),
        };
        let database = self.run.project.target.database();
        Gate::Unproven {
            message: format!("\"{database}\" {what} {names} (- wanted, + found):\n{}", difference.trim_end()),
            hint: format!("{hint}; if it is right all the same: --force-fake REASON"),
        }
        .into()
    }

    /// What else production has or lacks is not this command's matter, but it is said.
    fn name_the_rest(&self, production: &Schema, built: &Schema) {
        let rest = built.difference(production);
        if !rest.is_empty() {
            self.run.operator.warn(&format!(
                "beyond that, production is not what its migrations build (- built, + production):\n{}",
                rest.render(SHOWN).trim_end()
            ));
        }
    }
}
