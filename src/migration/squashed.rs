//! Squashes: a migration that replaces others (`-- replaces:`), and which of the two stand for each other in a database.
//!
//! As in Django: a database that has none of the replaced migrations runs the squash; one that has all of them counts it as
//! applied; one that has some goes on with the replaced ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::MigrationError;
use super::file::Migration;
use super::id::MigrationId;
use super::ledger_check::AppliedMigration;
use super::set::MigrationSet;

/// Which side of a squash a database stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SquashUse {
    /// It has none of the replaced ones and not the squash: the squash will run.
    Pending,
    /// It has the squash, or all of the replaced ones.
    Applied,
    /// It has some of the replaced ones: the others are run, and the squash is not.
    Partly,
}

/// A squash as a database sees it.
#[derive(Clone, Debug)]
pub struct Squash {
    /// The squash.
    pub migration: Arc<Migration>,
    /// All that it replaces, also through other squashes.
    pub replaces: BTreeSet<MigrationId>,
    /// Where the database stands.
    pub used: SquashUse,
    /// The replaced migrations whose files are still there.
    pub files: Vec<MigrationId>,
}

/// Files chosen for a database: either a squash or what it replaces.
pub(super) struct Chosen {
    pub(super) squashes: Vec<Squash>,
    /// Files that are out of the graph.
    pub(super) dropped: BTreeSet<MigrationId>,
    /// What a name of a dropped file means.
    pub(super) stands_for: BTreeMap<MigrationId, Vec<MigrationId>>,
}

/// Chooses for a database that has these migrations.
pub(super) fn choose(
    files: &BTreeMap<MigrationId, Arc<Migration>>,
    applied: &BTreeSet<MigrationId>,
) -> Result<Chosen, MigrationError> {
    let mut chosen = Chosen { squashes: Vec::new(), dropped: BTreeSet::new(), stands_for: BTreeMap::new() };
    let all: Vec<(&Arc<Migration>, BTreeSet<MigrationId>)> =
        files.values().filter(|one| !one.replaces.is_empty()).map(|one| (one, closure(files, one))).collect();
    // Applied by itself, or within a squash that is.
    let within =
        |id: &MigrationId| all.iter().any(|(one, replaces)| replaces.contains(id) && applied.contains(&one.id));
    let is_applied = |id: &MigrationId| applied.contains(id) || within(id);
    let mut outermost: Vec<_> = all.iter().collect();
    outermost.sort_by_key(|(one, _)| all.iter().filter(|(_, replaces)| replaces.contains(&one.id)).count());
    for (squash, replaces) in outermost {
        if chosen.dropped.contains(&squash.id) {
            continue;
        }
        // What a squash replaces through another one is not asked for twice.
        let leaves: Vec<&MigrationId> =
            replaces.iter().filter(|id| files.get(*id).is_none_or(|file| file.replaces.is_empty())).collect();
        let present = leaves.iter().filter(|id| is_applied(id)).count();
        let used = match present {
            _ if is_applied(&squash.id) => SquashUse::Applied,
            0 => SquashUse::Pending,
            count if count == leaves.len() => SquashUse::Applied,
            _ => SquashUse::Partly,
        };
        let there: Vec<MigrationId> = replaces.iter().filter(|id| files.contains_key(*id)).cloned().collect();
        if used == SquashUse::Partly {
            let gone = leaves.iter().filter(|id| !is_applied(id) && !files.contains_key(**id));
            let gone: Vec<MigrationId> = gone.map(|id| (*id).clone()).collect();
            if !gone.is_empty() {
                let present = leaves.iter().filter(|id| is_applied(id)).map(|id| (*id).clone()).collect();
                return Err(MigrationError::ReplacedMissing { squash: squash.id.clone(), gone, present });
            }
            chosen.dropped.insert(squash.id.clone());
            chosen.stands_for.insert(squash.id.clone(), there.clone());
        } else {
            for id in replaces {
                chosen.dropped.insert(id.clone());
                chosen.stands_for.insert(id.clone(), vec![squash.id.clone()]);
            }
        }
        chosen.squashes.push(Squash { migration: (*squash).clone(), replaces: replaces.clone(), used, files: there });
    }
    Ok(chosen)
}

/// What it replaces, and what those replace.
fn closure(files: &BTreeMap<MigrationId, Arc<Migration>>, squash: &Migration) -> BTreeSet<MigrationId> {
    let (mut found, mut next) = (BTreeSet::new(), squash.replaces.clone());
    while let Some(id) = next.pop() {
        if id != squash.id && found.insert(id.clone()) {
            next.extend(files.get(&id).into_iter().flat_map(|file| file.replaces.iter().cloned()));
        }
    }
    found
}

impl MigrationSet {
    /// The ledger's rows as this set sees them: one row of a squash in the place of the rows that it replaces.
    pub fn applied(&self, rows: &[AppliedMigration]) -> Vec<AppliedMigration> {
        let mut seen: Vec<AppliedMigration> = rows.to_vec();
        for squash in self.squashes().iter().filter(|one| one.used == SquashUse::Applied) {
            let (own, others): (Vec<_>, Vec<_>) = seen.into_iter().partition(|row| squash.replaces.contains(&row.id));
            seen = others;
            let is_recorded = seen.iter().any(|row| row.id == squash.migration.id);
            if let Some(last) = own.iter().max_by_key(|row| row.applied_at).filter(|_| !is_recorded) {
                seen.push(AppliedMigration {
                    id: squash.migration.id.clone(),
                    checksum: squash.migration.checksum.to_string(),
                    text: squash.migration.text.clone(),
                    how: "squash".to_owned(),
                    ..last.clone()
                });
            }
        }
        seen.sort_by(|a, b| (a.applied_at, &a.id).cmp(&(b.applied_at, &b.id)));
        seen
    }

    /// The squashes that a database with these rows counts as applied and has no row of.
    pub fn unrecorded_squashes(&self, rows: &[AppliedMigration]) -> Vec<AppliedMigration> {
        let seen = self.applied(rows).into_iter();
        seen.filter(|row| !rows.iter().any(|other| other.id == row.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn migration(id: &str, header: &str) -> Migration {
        Migration::parse(id.parse().unwrap(), id.into(), format!("{header}-- migrate:up\n").as_bytes()).unwrap()
    }

    fn files() -> Vec<Migration> {
        vec![
            migration("a/0001_x", ""),
            migration("a/0002_y", ""),
            migration("a/0003_z", ""),
            migration("a/0001_squashed", "-- replaces: a/0001_x, a/0002_y, a/0003_z\n"),
            migration("a/0004_w", ""),
            migration("b/0001_x", "-- depends: a/0002_y\n"),
        ]
    }

    fn row(id: &str, run: &str) -> AppliedMigration {
        let migration = migration(id, "");
        AppliedMigration {
            checksum: migration.checksum.to_string(),
            text: migration.text.clone(),
            id: migration.id,
            applied_at: datetime!(2026-11-22 14:02:10 UTC),
            run_id: run.to_owned(),
            how: "apply".to_owned(),
        }
    }

    fn rows(ids: &[&str]) -> Vec<AppliedMigration> {
        ids.iter().map(|id| row(id, "r1")).collect()
    }

    fn pending(files: Vec<Migration>, ids: &[&str]) -> Vec<String> {
        let rows = rows(ids);
        let set = MigrationSet::new(files).unwrap().for_ledger(&rows).unwrap();
        assert_eq!(set.conflicts(), []);
        let seen = set.applied(&rows);
        assert_eq!(set.check(&seen).missing, []);
        let plan = set.plan_apply(&seen, None, None).unwrap();
        plan.steps.iter().map(|step| step.migration.id.to_string()).collect()
    }

    #[test]
    fn a_database_that_has_none_runs_the_squash() {
        assert_eq!(pending(files(), &[]), ["a/0001_squashed", "a/0004_w", "b/0001_x"]);
    }

    #[test]
    fn a_database_that_has_all_runs_what_follows() {
        assert_eq!(pending(files(), &["a/0001_x", "a/0002_y", "a/0003_z"]), ["a/0004_w", "b/0001_x"]);
        // Also when the replaced files are gone.
        let left = files()
            .into_iter()
            .filter(|one| !["0001_x", "0002_y", "0003_z"].contains(&one.id.name.as_str()) || one.id.app == "b");
        assert_eq!(pending(left.collect(), &["a/0001_x", "a/0002_y", "a/0003_z"]), ["a/0004_w", "b/0001_x"]);
        assert_eq!(pending(files(), &["a/0001_squashed"]), ["a/0004_w", "b/0001_x"]);
    }

    #[test]
    fn a_database_that_has_some_goes_on_with_the_replaced() {
        assert_eq!(pending(files(), &["a/0001_x"]), ["a/0002_y", "a/0003_z", "a/0004_w", "b/0001_x"]);
        let left = files().into_iter().filter(|one| one.id.name != "0003_z").collect();
        let error = MigrationSet::new(left).unwrap().for_ledger(&rows(&["a/0001_x"])).unwrap_err();
        assert!(error.to_string().contains("a/0003_z"), "{error}");
    }

    #[test]
    fn a_squash_of_a_squash() {
        let outer = || migration("a/0001_all", "-- replaces: a/0001_squashed, a/0004_w\n");
        let all = || files().into_iter().chain([outer()]).collect::<Vec<_>>();
        assert_eq!(pending(all(), &[]), ["a/0001_all", "b/0001_x"]);
        assert_eq!(pending(all(), &["a/0001_squashed"]), ["a/0004_w", "b/0001_x"]);
        assert_eq!(pending(all(), &["a/0001_squashed", "a/0004_w"]), ["b/0001_x"]);
        assert_eq!(pending(all(), &["a/0001_x", "a/0002_y", "a/0003_z", "a/0004_w"]), ["b/0001_x"]);
        assert_eq!(pending(all(), &["a/0001_x"]), ["a/0002_y", "a/0003_z", "a/0004_w", "b/0001_x"]);
    }

    #[test]
    fn one_row_stands_for_the_replaced() {
        let rows = rows(&["a/0001_x", "a/0002_y", "a/0003_z"]);
        let set = MigrationSet::new(files()).unwrap().for_ledger(&rows).unwrap();
        let seen = set.applied(&rows);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].id.to_string().as_str(), seen[0].how.as_str()), ("a/0001_squashed", "squash"));
        assert_eq!(set.unrecorded_squashes(&rows).len(), 1);
    }
}
