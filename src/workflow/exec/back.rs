//! The way back of a Django project: each app migrated to where it stood, and the command again.

use crate::postgres::Session;
use crate::report::format_things;
use crate::report::rehearsal::WayBack;
use crate::schema::Schema;

use super::super::Error;
use super::super::rehearse::watch::Watch;
use super::super::schema_reading::SchemaReading;
use super::django::{Django, STEP};
use super::program::Surroundings;
use super::rehearsal::{Ground, wait_until_alone};

/// What Django makes with its first migration and never takes away.
const OWN_ENTRIES: [&str; 1] = ["*.django_migrations*"];
/// Tables in which Django keeps what earlier models left.
const OWN_ROWS: [&str; 3] = ["public.django_migrations", "public.django_content_type", "public.auth_permission"];

impl Ground<'_> {
    /// Migrates each app back to where it stood.
    pub(super) async fn back(
        &self,
        django: &Django,
        back: Vec<(String, String)>,
        (before, after): (&SchemaReading, &SchemaReading),
        (watch, session): (&mut Watch, &Session),
    ) -> Result<WayBack, Error> {
        if back.is_empty() {
            return Ok(WayBack::NotTried);
        }
        self.operator.step("trying the way back");
        self.shadow.check(session).await?;
        let command = self.request.command.with_words(django.migrate_to(&back));
        let tell = |line: &str| {
            if let Some(step) = line.strip_prefix(STEP) {
                self.operator.step(&format!("  shadow | back: {step}"));
            }
        };
        let ended = command.run(Surroundings { tell: Some(&tell), ..self.around() }, self.interrupt).await?;
        if !ended.status.success() {
            let at = ended.output.lines().filter_map(|line| line.strip_prefix(STEP)).next_back().unwrap_or_default();
            return Ok(WayBack::Irreversible(format!("`migrate {at}` ended with {}", ended.why())));
        }
        wait_until_alone(session).await?;
        let mut differences = Vec::new();
        let without_own = |schema: &Schema| schema.ignoring(&OWN_ENTRIES.map(str::to_owned));
        let difference = without_own(&before.schema).difference(&without_own(&self.read_raw(watch).await?.schema));
        if !difference.is_empty() {
            differences.push(format!("the schema (- before, + after the way back):\n{difference}"));
        }
        let effect = self.effect(watch, session).await?;
        let is_own = |table: &str| OWN_ROWS.contains(&table);
        let lost = effect.losses.iter().filter(|loss| !is_own(&loss.object));
        differences.extend(lost.map(|loss| loss.what.clone()));
        let rows = effect.row_changes.iter().filter(|one| !is_own(&one.table));
        differences
            .extend(rows.map(|one| format!("rows of {}: {} before, {} after", one.table, one.before, one.after)));
        let values = effect.value_changes.iter().filter(|one| one.changed + one.emptied > 0);
        differences.extend(values.map(|one| {
            format!("{} of {} are others than before", format_things(one.changed + one.emptied, "value"), one.column)
        }));
        let again = self.request.command.run(self.around(), self.interrupt).await?;
        if !again.status.success() {
            differences.push(format!("the command did not go through again: {}", again.why()));
        } else if self.read_raw(watch).await?.record.hash != after.record.hash {
            differences.push("the schema after the command, the way back and the command again".to_owned());
        }
        Ok(if differences.is_empty() { WayBack::Reversible } else { WayBack::Differs(differences) })
    }
}
