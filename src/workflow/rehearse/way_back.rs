//! Down and up again: is everything as it was, and is the second pass equal to the first? A verdict for each migration.

use std::collections::BTreeSet;

use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::MigratingSession;
use crate::report::rehearsal::{MigrationWayBack, Reversibility, WayBack};
use crate::schema::{ChangedEntry, Difference};

use super::super::Error;
use super::super::schema_reading::{SchemaReading, read_as_seen};
use super::Pass;
use super::row_verdict::RowVerdict;
use super::table_comparison::Comparer;
use super::watch::{Moment, Watch};

/// Objects of a schema's difference that are named; the rest is counted.
const NAMED: usize = 8;

/// The way back as it is tried.
pub struct Trial<'a> {
    /// Runs the steps.
    pub pass: &'a Pass<'a>,
    /// What the way there left.
    pub watch: &'a Watch,
    /// The session that migrates.
    pub session: &'a MigratingSession,
    /// The plan.
    pub plan: &'a Plan,
    /// Schema before and after the plan.
    pub schemas: (&'a SchemaReading, &'a SchemaReading),
    /// Examples of each kind.
    pub samples: usize,
}

/// What is known so far: a difference is put down to the first step after which it was seen.
struct Findings {
    ways: Vec<MigrationWayBack>,
    objects: BTreeSet<String>,
    reordered: BTreeSet<String>,
    rows: RowVerdict,
}

impl Trial<'_> {
    /// Runs the steps back and again.
    pub async fn run(&self) -> Result<Vec<MigrationWayBack>, Error> {
        let mut findings = Findings {
            ways: self.plan.steps.iter().map(untried).collect(),
            objects: BTreeSet::new(),
            reordered: BTreeSet::new(),
            rows: RowVerdict::default(),
        };
        let first = self.back(&mut findings).await?;
        if first == 0 {
            self.compare_start(&mut findings).await?;
        }
        let whole = self.again(&mut findings, first).await?;
        if first == 0 && whole {
            self.compare_end(&mut findings).await?;
        }
        findings.conclude(first);
        Ok(findings.ways)
    }

    /// Undoes the steps from the last to the first, as far as that goes; the first one that is undone.
    async fn back(&self, findings: &mut Findings) -> Result<usize, Error> {
        for (index, step) in self.plan.steps.iter().enumerate().rev() {
            let undo = opposite(step);
            if undo.section().is_none() {
                findings.stuck(index, "it has no down section".to_owned());
                return Ok(index + 1);
            }
            if let Err(error) = self.pass.step(self.session, &undo, None).await {
                findings.stuck(index, format!("undoing it failed: {error}"));
                return Ok(index + 1);
            }
            let now = self.watch.moment(self.session).await?;
            findings.compare_schema(index, &self.watch.moments[index], &now, "the schema is not as before");
            let comparer =
                Comparer { template: &self.watch.template, shadow: &self.watch.shadow, samples: self.samples };
            let rows = findings.rows.back(self.watch, comparer, (index, &now)).await?;
            findings.ways[index].why.extend(rows.left_over);
            findings.ways[index].losses.extend(rows.losses);
        }
        Ok(0)
    }

    /// Runs the steps that were undone again, and compares with the first time. Whether all went through.
    async fn again(&self, findings: &mut Findings, first: usize) -> Result<bool, Error> {
        let mut before = self.watch.moment(self.session).await?;
        for (index, step) in self.plan.steps.iter().enumerate().skip(first) {
            if let Err(error) = self.pass.step(self.session, step, None).await {
                findings.stuck(index, format!("running it again failed: {error}"));
                return Ok(false);
            }
            let now = self.watch.moment(self.session).await?;
            let then = &self.watch.moments[index + 1];
            findings.compare_schema(index, then, &now, "running it again built another schema");
            let others = findings.rows.again(self.watch, index, (&before, &now)).await?;
            findings.ways[index].not_deterministic.extend(others);
            before = now;
        }
        Ok(true)
    }

    /// The dumps of both ends say what the record of the catalog may have passed over.
    async fn compare_start(&self, findings: &mut Findings) -> Result<(), Error> {
        let back = self.read().await?;
        let difference = self.schemas.0.schema.difference(&back.schema);
        findings.dumps_differ(0, difference, "the schema is not as before (- before, + after going back)");
        Ok(())
    }

    async fn compare_end(&self, findings: &mut Findings) -> Result<(), Error> {
        let again = self.read().await?;
        let difference = self.schemas.1.schema.difference(&again.schema);
        let last = self.plan.steps.len() - 1;
        findings.dumps_differ(last, difference, "the second pass built another schema (- first, + second)");
        Ok(())
    }

    async fn read(&self) -> Result<SchemaReading, Error> {
        let (pass, project) = (self.pass, self.pass.project);
        let seen = (&self.watch.shadow, None);
        read_as_seen(pass.programs, &pass.shadow.spec(), seen, &project.fingerprint_ignore).await
    }
}

fn untried(step: &PlanStep) -> MigrationWayBack {
    MigrationWayBack {
        migration: step.migration.id.to_string(),
        verdict: Reversibility::NotTried,
        why: Vec::new(),
        losses: Vec::new(),
        notes: Vec::new(),
        not_deterministic: Vec::new(),
    }
}

fn opposite(step: &PlanStep) -> PlanStep {
    let direction = match step.direction {
        Direction::Apply => Direction::Rollback,
        Direction::Rollback => Direction::Apply,
    };
    PlanStep { migration: step.migration.clone(), direction }
}

impl Findings {
    fn stuck(&mut self, index: usize, why: String) {
        self.ways[index].why.push(why);
        let name = self.ways[index].migration.clone();
        for way in &mut self.ways[..index] {
            if way.verdict == Reversibility::NotTried && way.why.is_empty() && way.losses.is_empty() {
                way.notes.push(format!("{name} stands in the way"));
            }
        }
    }

    fn compare_schema(&mut self, index: usize, then: &Moment, now: &Moment, what: &str) {
        let difference = then.schema.difference(&now.schema);
        let new: Vec<String> = difference
            .objects
            .into_iter()
            .filter(|(name, _)| self.objects.insert(name.clone()))
            .map(|(name, how)| format!("{name} {how}"))
            .collect();
        if !new.is_empty() {
            let more = new.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            self.ways[index].why.push(format!("{what}: {}{more}", new[..new.len().min(NAMED)].join(", ")));
        }
        for table in difference.reordered {
            if self.reordered.insert(table.clone()) {
                self.ways[index].notes.push(format!("the columns of {table} are in another order"));
            }
        }
    }

    /// With one migration the dumps' own words say more; with several, what the catalog says names the migration.
    fn dumps_differ(&mut self, index: usize, difference: Difference, what: &str) {
        let difference = without_column_order(difference);
        if difference.is_empty() || (self.ways.len() > 1 && !self.objects.is_empty()) {
            return;
        }
        if self.ways.len() == 1 {
            self.ways[index].why.retain(|why| !why.contains("schema"));
        }
        self.ways[index].why.push(format!("{what}:\n{difference}"));
    }

    fn conclude(&mut self, first: usize) {
        for (index, way) in self.ways.iter_mut().enumerate() {
            way.verdict = match (way.why.is_empty(), way.losses.is_empty()) {
                (false, _) => Reversibility::NotReversible,
                (true, _) if index < first => Reversibility::NotTried,
                (true, false) => Reversibility::ReversibleWithLoss,
                (true, true) => Reversibility::Reversible,
            };
            if way.verdict == Reversibility::NotTried {
                way.why.append(&mut way.notes);
            } else {
                way.notes.retain(|note| !note.ends_with("stands in the way"));
            }
        }
    }
}

/// A column that was dropped and added again stands last; its table's text then has the same lines in another order.
fn without_column_order(mut difference: Difference) -> Difference {
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
        lines.sort();
        lines
    };
    let only_order =
        |entry: &ChangedEntry| entry.left.kind == "TABLE" && lines(&entry.left.text) == lines(&entry.right.text);
    difference.changed.retain(|entry| !only_order(entry));
    difference
}

/// The verdict on the plan as a whole.
pub fn of_plan(ways: &[MigrationWayBack]) -> WayBack {
    let reasons = |way: &MigrationWayBack| -> Vec<String> {
        let losses = way.losses.iter().map(|loss| loss.what.clone());
        way.why.iter().cloned().chain(losses).map(|why| format!("{}: {why}", way.migration)).collect()
    };
    if ways.iter().any(|way| way.verdict == Reversibility::NotTried)
        || ways.iter().any(|way| way.why.iter().any(|why| why == "it has no down section" || why.contains(" failed: ")))
    {
        let stuck = ways.iter().rfind(|way| way.verdict == Reversibility::NotReversible);
        return WayBack::Irreversible(stuck.map(reasons).unwrap_or_default().join("; "));
    }
    let all: Vec<String> = ways.iter().flat_map(reasons).collect();
    if all.is_empty() { WayBack::Reversible } else { WayBack::Differs(all) }
}
