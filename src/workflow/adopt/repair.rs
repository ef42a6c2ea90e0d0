//! `repair APP NAME`: the file of an applied migration was changed. Where both texts build the same, the ledger takes the
//! new one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::migration::{Migration, MigrationId, Target};

use super::super::replay::Replay;
use super::super::state::State;
use super::super::{Error, Gate, Interrupt, Operator, Project};
use super::ledger_run::{LedgerChange, LedgerReport, LedgerRun};

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct RepairRequest {
    /// App.
    pub app: String,
    /// Number, name or unique prefix.
    pub name: String,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// Whether to stop after the proof.
    pub dry_run: bool,
}

/// How it ended well.
#[derive(Debug)]
pub enum RepairOutcome {
    /// The file is what was applied.
    NotChanged(MigrationId),
    /// `--dry-run`: both texts build the same.
    Equal(MigrationId),
    /// The ledger has the file's text.
    Done(MigrationId, Box<LedgerReport>),
}

/// Proves both texts equal, and records the new one.
pub async fn repair(
    project: &Project,
    request: &RepairRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<RepairOutcome, Error> {
    let command = format!("repair {} {}", request.app, request.name);
    let run = LedgerRun::begin(project, (&command, request.wait), operator, interrupt).await?;
    let state = State::read(project, &run.session).await?;
    state.refuse_mixed(project).await?;
    let known = state.migrations.iter().map(|one| one.id.clone());
    let known = known.chain(state.applied.iter().map(|one| one.id.clone())).collect();
    let Target::Migration(id) = Target::resolve(&known, Some(&request.app), Some(&request.name))? else {
        return Err(not_possible("`zero` names no migration", "name the migration whose file was changed"));
    };
    let Some(row) = state.applied.iter().find(|one| one.id == id) else {
        return Err(not_possible(&format!("{id} is not applied, so its file may be changed freely"), "apply it"));
    };
    let Some(file) = state.migrations.get(&id).cloned() else {
        return Err(not_possible(
            &format!("{id} is applied, and there is no file to take its text from"),
            "put the file back, or check out the release that has it",
        ));
    };
    if !state.check.changed.iter().any(|one| one.id == id) {
        return Ok(RepairOutcome::NotChanged(id));
    }
    let old = Migration::parse(id.clone(), PathBuf::from(format!("the ledger's text of {id}")), row.text.as_bytes());
    let old = Arc::new(old?);
    if file.runs_a_program() && file.text == row.text {
        return Err(not_possible(
            &format!(
                "the program that {id} runs was changed, and the one that was run is not kept, so they cannot be compared"
            ),
            "put the program back as it was, and write the change as a new migration",
        ));
    }
    let ancestors = state.migrations.ancestors(&id);
    let applied = state.migrations.applied_in_order(&state.applied)?;
    let before: Vec<Arc<Migration>> = applied.into_iter().filter(|one| ancestors.contains(&one.id)).collect();

    operator.step("building both texts in private databases");
    let proof = async {
        let replay = Replay::start(project, &run.server).await?;
        let result = compare(&replay, &before, (&old, &file)).await;
        replay.stop().await?;
        result
    };
    let differences = interrupt.or(proof).await?;
    if !differences.is_empty() {
        return Err(Gate::Unproven {
            message: format!("{id} builds something else now (- applied, + file):\n{}", differences.join("\n")),
            hint: "put the text that was applied back, and write the change as a new migration".to_owned(),
        }
        .into());
    }
    if request.dry_run {
        return Ok(RepairOutcome::Equal(id));
    }
    run.confirm(&format!(
        "both texts of {id} build the same; let the ledger of {} take the file's?",
        project.target.display()
    ))?;
    interrupt.check()?;
    let report = run.write(&[LedgerChange::Repaired(file)], None).await?;
    Ok(RepairOutcome::Done(id, Box::new(report)))
}

async fn compare(
    replay: &Replay<'_>,
    before: &[Arc<Migration>],
    (old, new): (&Arc<Migration>, &Arc<Migration>),
) -> Result<Vec<String>, Error> {
    let with = |last: &Arc<Migration>| before.iter().cloned().chain([last.clone()]).collect::<Vec<_>>();
    let (of_old, of_new) = (replay.build(&with(old)).await?, replay.build(&with(new)).await?);
    replay.differences((&with(old), &of_old), &of_new).await
}

fn not_possible(message: &str, hint: &str) -> Error {
    Error::NotPossible { message: message.to_owned(), hint: hint.to_owned() }
}
