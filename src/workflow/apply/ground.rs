//! Before each migration: the lock is held, the database is still this one, and its ledger is what the plan started from.

use crate::migration::{Direction, MigrationId, PlanStep};
use crate::postgres::{RunRecord, database, ledger};

use super::super::{Error, Gate};
use super::{Prepared, Run};

impl Prepared {
    /// What the ledger must hold after the first `done` steps of this run: migration, checksum and run.
    fn expected(&self, run_id: &str, done: &[PlanStep]) -> Vec<(MigrationId, String, String)> {
        let applied = self.state.ledger.applied.iter();
        let mut expected: Vec<_> =
            applied.map(|one| (one.id.clone(), one.checksum.clone(), one.run_id.clone())).collect();
        for step in done {
            let migration = &step.migration;
            match step.direction {
                Direction::Apply => {
                    expected.push((migration.id.clone(), migration.checksum.to_string(), run_id.to_owned()));
                }
                Direction::Rollback => {
                    expected.retain(|one| one.0 != migration.id && !migration.replaces.contains(&one.0));
                }
            }
        }
        expected.sort();
        expected
    }
}

impl Run<'_> {
    /// Stops when the lock is lost, another database has the name, or the ledger is not the plan's start and what this run
    /// did. Cheap: three short queries.
    pub(super) async fn refuse_other_ground(&self, record: &RunRecord, done: &[PlanStep]) -> Result<(), Error> {
        let prepared = self.prepared;
        let name = self.project.target.database();
        let changed = |what: String| Err(Gate::ChangedMeanwhile { database: name.to_owned(), what }.into());
        if !prepared.lock.is_held(&prepared.server.maintenance, &prepared.session).await? {
            return changed("this run no longer holds its lock".to_owned());
        }
        if !database::is_still_named(&prepared.server.maintenance, &prepared.session, name).await? {
            return changed("another database has its name; this run works on the one that was renamed".to_owned());
        }
        let (expected, now) = (prepared.expected(&record.id, done), ledger::applied_now(&prepared.session).await?);
        if now == expected {
            return Ok(());
        }
        let names = |these: &[(MigrationId, String, String)], those: &[(MigrationId, String, String)]| {
            let only = these.iter().filter(|one| !those.contains(one)).map(|one| one.0.to_string());
            only.collect::<Vec<_>>().join(", ")
        };
        let (gone, come) = (names(&expected, &now), names(&now, &expected));
        let parts = [("no longer in it as it was", gone), ("came to it", come)];
        let parts = parts.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{what}: {names}"));
        changed(format!("its ledger ({})", parts.collect::<Vec<_>>().join("; ")))
    }
}
