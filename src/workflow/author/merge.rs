//! `make --merge`: two leaves of an app, run in both orders in private databases. If schema and rows come out equal they are
//! merged by a migration that depends on both; else it is said where they clash.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::migration::{Conflict, Migration, MigrationId, MigrationSet};

use super::super::replay::Replay;
use super::super::{Error, Gate, Operator, Project};
use super::place::{file_of, name_of, next_id, write_new};

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct MergeRequest {
    /// These apps; none: all.
    pub apps: Vec<String>,
    /// Words of the name; none: those of the leaves.
    pub name: Option<String>,
    /// Whether to write nothing.
    pub dry_run: bool,
}

/// A merge that was proven.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The new migration.
    pub id: MigrationId,
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What it merges.
    pub leaves: Vec<MigrationId>,
}

/// Two branches of an app.
struct Branches {
    /// What both stand on.
    base: Vec<Arc<Migration>>,
    left: Vec<Arc<Migration>>,
    right: Vec<Arc<Migration>>,
    /// What stands on both.
    rest: Vec<Arc<Migration>>,
}

/// Merges the leaves of every app that has two.
pub async fn merge(project: &Project, request: &MergeRequest, operator: &dyn Operator) -> Result<Vec<Merged>, Error> {
    let set = MigrationSet::load(&project.migrations_dir, &project.default_app)?;
    if let Some(unknown) = request.apps.iter().find(|app| !set.apps().contains(app.as_str())) {
        let apps: Vec<&str> = set.apps().into_iter().collect();
        let hint = format!("the apps are: {}", apps.join(", "));
        return Err(Error::NotPossible { message: format!("there is no app `{unknown}`"), hint });
    }
    let wanted = |conflict: &Conflict| request.apps.is_empty() || request.apps.contains(&conflict.app);
    let conflicts: Vec<Conflict> = set.conflicts().into_iter().filter(wanted).collect();
    if conflicts.is_empty() {
        return Ok(Vec::new());
    }
    let branches: Vec<Branches> = conflicts.iter().map(|one| branches(&set, one)).collect::<Result<_, _>>()?;
    for (conflict, branches) in conflicts.iter().zip(&branches) {
        operator.step(shown(&conflict.app, branches).trim_end());
    }
    let server = project.connect().await?;
    let replay = Replay::start(project, &server).await?;
    let result = prove(&replay, &conflicts, &branches).await;
    replay.stop().await?;
    result?;
    let mut merged = Vec::new();
    for conflict in conflicts {
        let words = request.name.clone().unwrap_or_else(|| {
            let names: Vec<&str> = conflict.leaves.iter().map(|leaf| leaf.name.as_str()).collect();
            format!("merge_{}", names.join("_"))
        });
        let id = next_id(&set, &conflict.app, &name_of(&words))?;
        let names: Vec<String> = conflict.leaves.iter().map(ToString::to_string).collect();
        let text = format!(
            "-- Merges two branches; run in both orders they lead to the same schema and rows.\n-- depends: {}\n\
             -- migrate:up\n-- migrate:down\n",
            names.join(", ")
        );
        let path = file_of(&project.migrations_dir, &set, &id);
        if !request.dry_run {
            write_new(&path, &text)?;
        }
        merged.push(Merged { id, path, text, leaves: conflict.leaves });
    }
    Ok(merged)
}

fn branches(set: &MigrationSet, conflict: &Conflict) -> Result<Branches, Error> {
    // A leaf that stands on others does not branch off from them: it saw them all.
    let stands_on_another =
        |leaf: &&MigrationId| conflict.leaves.iter().any(|other| set.ancestors(leaf).contains(other));
    let independent: Vec<&MigrationId> = conflict.leaves.iter().filter(|leaf| !stands_on_another(leaf)).collect();
    let [left, right] = independent.as_slice() else {
        let names: Vec<String> = independent.iter().map(ToString::to_string).collect();
        let (first, last) = (&names[0], &names[names.len() - 1]);
        return Err(Error::NotPossible {
            message: format!(
                "app `{}` has {} leaves, and two are merged at a time: {}",
                conflict.app,
                names.len(),
                names.join(", ")
            ),
            hint: format!(
                "write `-- depends: {first}` into {last}, if that is applied nowhere, and merge what is left"
            ),
        });
    };
    let with = |id: &MigrationId| set.ancestors(id).into_iter().chain([id.clone()]).collect::<BTreeSet<_>>();
    let (of_left, of_right) = (with(left), with(right));
    let of_all: BTreeSet<MigrationId> = conflict.leaves.iter().flat_map(with).collect();
    let chosen = |wanted: &dyn Fn(&MigrationId) -> bool| set.iter().filter(|one| wanted(&one.id)).cloned().collect();
    Ok(Branches {
        base: chosen(&|id| of_left.contains(id) && of_right.contains(id)),
        left: chosen(&|id| of_left.contains(id) && !of_right.contains(id)),
        right: chosen(&|id| of_right.contains(id) && !of_left.contains(id)),
        rest: chosen(&|id| of_all.contains(id) && !of_left.contains(id) && !of_right.contains(id)),
    })
}

/// Both branches, as Django's `makemigrations --merge` shows them.
fn shown(app: &str, branches: &Branches) -> String {
    let mut text = format!("Merging {app}\n");
    for branch in [&branches.left, &branches.right] {
        let names: Vec<String> =
            branch.iter().map(|one| if one.id.app == app { one.id.name.clone() } else { one.id.to_string() }).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  Branch {}", names.join(", "));
        for statement in branch.iter().flat_map(|one| &one.up.statements) {
            let line = statement.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let line: String = line.chars().take(100).collect();
            let _ = writeln!(text, "    - {line}");
        }
    }
    text
}

async fn prove(replay: &Replay<'_>, conflicts: &[Conflict], all: &[Branches]) -> Result<(), Error> {
    for (conflict, branches) in conflicts.iter().zip(all) {
        let Branches { base, left, right, rest } = branches;
        let orders = [[base, left, right, rest], [base, right, left, rest]];
        let histories: Vec<Vec<Arc<Migration>>> =
            orders.iter().map(|order| order.iter().copied().flatten().cloned().collect()).collect();
        let names = |order: [&Vec<Arc<Migration>>; 2]| {
            let last = order.map(|branch| branch.last().map(|one| one.id.name.clone()).unwrap_or_default());
            format!("{} before {}", last[0], last[1])
        };
        let (one, other) = (names([left, right]), names([right, left]));
        let clash = |what: String| Gate::Unproven {
            message: format!("the branches of app `{}` clash: {what}", conflict.app),
            hint: "write a `-- depends:` into one of them (if it is applied nowhere) that says which comes first"
                .to_owned(),
        };
        let mut reached = Vec::new();
        for (history, order) in histories.iter().zip([&one, &other]) {
            match replay.build(history).await {
                Ok(end) => reached.push(end),
                Err(Error::Execute(error)) => return Err(clash(format!("{order}: {error}")).into()),
                Err(error) => return Err(error),
            }
        }
        let [first, second] = reached.as_slice() else { continue };
        let differences = replay.differences((&histories[0], first), second).await?;
        if !differences.is_empty() {
            let lines = differences.join("\n");
            return Err(clash(format!("(- {one}, + {other})\n{lines}")).into());
        }
    }
    Ok(())
}
