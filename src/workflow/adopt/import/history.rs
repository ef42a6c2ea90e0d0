//! What the tool's own table says is applied, held against its files and against what production is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::migration::{Direction, ForeignMigration, ForeignTool, Migration, MigrationId, MigrationSet};
use crate::postgres::foreign_ledger::ForeignRow;
use crate::report::format_list;

use super::super::super::{Error, Gate};
use super::{Import, ImportFrom, Imported, not_possible};

/// Lines of a difference that are shown.
const SHOWN: usize = 60;

fn is_of(row: &ForeignRow, (app, key): &(String, String)) -> bool {
    row.app.as_ref() == Some(app) && row.key == *key
}

impl Import<'_> {
    /// Which of them the tool's table says are applied.
    pub(super) fn applied(&self, foreign: &[ForeignMigration]) -> Result<BTreeSet<usize>, Error> {
        let mut applied = BTreeSet::new();
        for row in self.rows {
            let is_key = |one: &ForeignMigration| one.key == row.key || one.covers.contains(&row.key);
            let found = foreign.iter().position(|one| is_key(one) && (row.app.is_none() || one.app == row.app));
            let Some(at) = found else {
                if !foreign.iter().any(|one| one.replaces.iter().any(|replaced| is_of(row, replaced))) {
                    self.without_file(row)?;
                }
                continue;
            };
            self.compare_text(row, &foreign[at])?;
            // Once for each: a dump stands for thousands of rows.
            if !applied.contains(&at) && self.is_covered(&foreign[at])? {
                applied.insert(at);
            }
            if row.and_all_before {
                applied.extend(self.before(foreign, at));
            }
        }
        for (at, one) in foreign.iter().enumerate().filter(|(_, one)| !one.replaces.is_empty()) {
            if self.is_applied_by_what_it_replaces(one, applied.contains(&at))? {
                applied.insert(at);
            }
        }
        Ok(applied)
    }

    /// A row that no file is for.
    fn without_file(&self, row: &ForeignRow) -> Result<(), Error> {
        let tool = self.request.from.name();
        let name = row.app.as_ref().map_or_else(|| row.key.clone(), |app| format!("{app}.{}", row.key));
        match self.request.from {
            // Flyway's baseline is a version that no file has.
            ImportFrom::Files(ForeignTool::Flyway) if row.and_all_before => Ok(()),
            // Prisma's way to squash leaves the rows there.
            ImportFrom::Files(ForeignTool::Prisma) => {
                self.operator.warn(&format!("prisma's table has {name} as applied, and there is no directory of it"));
                Ok(())
            }
            _ => Err(not_possible(
                format!("{tool}'s table has {name} as applied, and there is no file of it"),
                "check out the release that has it",
            )),
        }
    }

    fn compare_text(&self, row: &ForeignRow, file: &ForeignMigration) -> Result<(), Error> {
        let tool = self.request.from.name();
        let Some(digest) = row.digest.as_ref().filter(|_| !file.digests.is_empty()) else { return Ok(()) };
        if file.digests.contains(digest) {
            return Ok(());
        }
        let message = format!("{}: the file changed since {tool} applied it", file.source);
        if self.request.from == ImportFrom::Files(ForeignTool::Prisma) {
            // Prisma goes on too; whether both texts build the same is seen in the schema.
            self.operator.warn(&message);
            return Ok(());
        }
        Err(not_possible(message, "put the text that was applied back"))
    }

    /// Whether all versions that it stands for are in the table.
    fn is_covered(&self, one: &ForeignMigration) -> Result<bool, Error> {
        let rows: BTreeSet<&str> = self.rows.iter().map(|row| row.key.as_str()).collect();
        match one.covers.iter().find(|key| !rows.contains(key.as_str())) {
            None => Ok(true),
            Some(missing) => {
                let table = self.table.map(|(_, name)| name.as_str()).unwrap_or_default();
                Err(not_possible(
                    format!("{}: it has {missing}, and {table} does not", one.source),
                    "apply that one first, or check out the release that this database has",
                ))
            }
        }
    }

    /// As Django has it: when all that it replaces is.
    fn is_applied_by_what_it_replaces(&self, one: &ForeignMigration, has_a_row: bool) -> Result<bool, Error> {
        let (of_them, missing): (Vec<_>, Vec<_>) =
            one.replaces.iter().partition(|replaced| self.rows.iter().any(|row| is_of(row, replaced)));
        if missing.is_empty() {
            return Ok(true);
        }
        let name = one.app.as_ref().map_or_else(|| one.key.clone(), |app| format!("{app}.{}", one.key));
        if has_a_row {
            self.operator.warn(&format!(
                "{name} has a row and not all that it replaces has one, so Django itself does not count it as applied; the \
                 row is believed if production is what it builds"
            ));
            return Ok(true);
        }
        if of_them.is_empty() {
            return Ok(false);
        }
        let names =
            |list: &[(String, String)]| format_list(&list.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>());
        let of_them: Vec<(String, String)> = of_them.into_iter().cloned().collect();
        Err(not_possible(
            format!("{name} replaces {}, and only {} is applied", names(&one.replaces), names(&of_them)),
            "migrate with the release that has the files of all of them first",
        ))
    }

    /// Those that stand before one, in the tool's order.
    fn before(&self, foreign: &[ForeignMigration], at: usize) -> BTreeSet<usize> {
        if self.request.from != ImportFrom::Alembic {
            return (0..at).collect();
        }
        // Alembic has branches.
        let (mut found, mut next) = (BTreeSet::new(), vec![at]);
        while let Some(one) = next.pop() {
            let parents =
                foreign[one].depends.iter().filter_map(|(_, key)| foreign.iter().position(|it| it.key == *key));
            next.extend(parents.filter(|parent| found.insert(*parent)));
        }
        found
    }

    /// Applied before what it stands on: a history that cannot be here.
    pub(super) fn refuse_gap(&self, set: &MigrationSet, imported: &[Imported]) -> Result<(), Error> {
        let applied: BTreeSet<&MigrationId> = imported.iter().filter(|one| one.applied).map(|one| &one.id).collect();
        for one in imported.iter().filter(|one| one.applied) {
            // Where each stands on applied ones, so does all before it.
            if let Some(pending) = set.dependencies(&one.id).into_iter().find(|id| !applied.contains(id)) {
                let tool = self.request.from.name();
                return Err(not_possible(
                    format!("{} is applied, and {pending}, which comes before it, is not", one.id),
                    &format!("apply that one with {tool} first"),
                ));
            }
        }
        Ok(())
    }

    /// What is applied must build what production is, the tool's own table aside; the others must run.
    pub(super) async fn compare(
        &self,
        migrations: &[Arc<Migration>],
        imported: &[Imported],
    ) -> Result<Option<String>, Error> {
        let is_applied = |one: &Arc<Migration>| imported.iter().any(|other| other.applied && other.id == one.id);
        let (applied, pending): (Vec<_>, Vec<_>) = migrations.iter().cloned().partition(is_applied);
        let mut ignore = self.project.fingerprint_ignore.clone();
        let named = self.table.map(|(schema, name)| format!("{schema}.{name}*"));
        // Alembic and golang-migrate call the key of their table as the table.
        ignore.extend(named);
        if let (ImportFrom::Files(ForeignTool::Rails), Some((schema, _))) = (self.request.from, self.table) {
            ignore.extend(["ar_internal_metadata*", "unique_schema_migrations"].map(|name| format!("{schema}.{name}")));
        }
        let built = self.replay.empty().await?;
        self.replay.run(&built, &applied, Direction::Apply).await?;
        let reached = self.replay.reached(&built).await?.schema.ignoring(&ignore);
        let production = self.replay.production().await?.ignoring(&ignore);
        let difference = reached.difference(&production);
        self.replay.run(&built, &pending, Direction::Apply).await?;
        self.replay.drop(built).await?;
        if applied.is_empty() || difference.is_empty() {
            return Ok(None);
        }
        let shown = difference.render(SHOWN);
        let shown = shown.trim_end();
        match &self.request.accept_drift {
            Some(why) => {
                self.operator.warn(&format!("production is not what the applied ones build, accepted: {why}\n{shown}"));
                Ok(Some(format!("drift accepted: {why}")))
            }
            None => Err(Gate::Unproven {
                message: format!("production is not what the applied ones build (- built, + production):\n{shown}"),
                hint: "find out who changed it; to go on as it is: --accept-drift WHY".to_owned(),
            }
            .into()),
        }
    }
}
