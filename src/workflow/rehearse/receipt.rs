//! The part of a rehearsal that `apply` trusts. A receipt is made here only: of a rehearsal that just went through, or of
//! a stored one that was checked; and in `own_way_back`, of the way back that such a one tried.

use std::time::Duration;

use time::OffsetDateTime;

use crate::migration::Plan;
use crate::report::format_list;
use crate::report::rehearsal::{RehearsalReport, Verdict};
use crate::schema::{Fingerprint, Schema, SchemaChanges};
use crate::store::Store;

use super::super::schema_reading::{RawRecord, SchemaReading};
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Error, Gate, Operator, Project};
use super::bound::{Bound, Taken};
use super::own_way_back::more_than_drops;
use super::stored_receipt::{self, Content};
use super::why_not::WhyNot;
use super::{accepted_loss, direction_name, findings};

/// Clocks of two machines may differ by this much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);
/// Lines of a schema's difference that are shown.
const SHOWN: usize = 12;

/// Evidence that this plan went through on data restored from a snapshot.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub(super) report: RehearsalReport,
    pub(super) content: Content,
    /// Signed by a key that may sign receipts alone: what it says of rows is not believed.
    pub(super) limited: bool,
}

/// A stored receipt that matches in all but the starting schema, which is not compared yet.
#[derive(Debug)]
pub struct Candidate(Receipt);

/// What a stored receipt must match.
#[derive(Debug)]
pub struct Expected<'a> {
    /// Source, role, policy.
    pub project: &'a Project,
    /// The plan.
    pub plan: &'a Plan,
    /// Major version of the server.
    pub server_major: u32,
    /// Version of the pg_dump that reads schemas here.
    pub pg_dump: String,
    /// `[apply] max_age`.
    pub max_age: Duration,
    /// By the server's clock.
    pub now: OffsetDateTime,
    /// Whether the plan will run in one transaction (`--fence`).
    pub one_transaction: bool,
    /// What is run instead of a plan, which is empty then.
    pub command: Option<&'a Bound>,
}

/// What is known of the schema of a shadow around the plan.
pub(in super::super) struct Schemas<'a> {
    pub before: &'a SchemaReading,
    pub after: &'a SchemaReading,
    /// The normal form of `after`.
    pub normal: &'a SchemaReading,
    /// Raw fingerprint of production when the snapshot was taken.
    pub raw: Option<RawRecord>,
    /// Whether the plan was also tried in one transaction.
    pub one_transaction: bool,
}

impl Receipt {
    /// The receipt of a rehearsal that went through just now; none of one that failed.
    pub(in super::super) fn of(
        report: &RehearsalReport,
        report_sha256: String,
        (plan, role, database): (&Plan, &str, &str),
        schemas: &Schemas<'_>,
    ) -> Option<Self> {
        if report.verdict == Verdict::Fail {
            return None;
        }
        let migrations = plan.steps.iter().map(|step| &step.migration);
        let inside = |schema: &Schema| schema.without_kinds(OUTSIDE_LINKS);
        let (before, after) = (inside(&schemas.before.schema), inside(&schemas.after.schema));
        let content = Content {
            schema: stored_receipt::SCHEMA,
            rehearsal: report.id.clone(),
            source: report.source.clone(),
            database: database.to_owned(),
            server_major: report.server_major,
            role: role.to_owned(),
            tool_version: report.tool_version.clone(),
            direction: report.direction.clone(),
            plan_hash: report.plan_hash.clone(),
            migrations: migrations.map(|one| (one.id.to_string(), one.checksum.to_string())).collect(),
            starting_fingerprint: schemas.before.record.clone(),
            starting_raw: schemas.raw.clone(),
            changes: after.changes_since(&before),
            starting_schema: before,
            schema_after: inside(&schemas.normal.schema),
            invalid_indexes: after.invalid_indexes().to_vec(),
            created_at: report.finished_at,
            report_sha256,
            one_transaction: schemas.one_transaction,
            command: None,
        };
        Some(Self { report: report.clone(), content, limited: false })
    }

    /// The same, of a wrapped command.
    pub(in super::super) fn of_command(mut self, bound: Bound) -> Self {
        self.content.command = Some(bound);
        self
    }

    /// Writes it to the store.
    pub(super) async fn write(&self, store: &Store) -> Result<(), Error> {
        stored_receipt::write(store, &self.content).await
    }

    /// Checks a stored rehearsal against what is to be done now, in all but the starting schema.
    pub async fn check(store: &Store, id: &str, expected: &Expected<'_>) -> Result<Result<Candidate, WhyNot>, Error> {
        let (content, signed_by) = match stored_receipt::read(store, id).await? {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        if content.rehearsal != id {
            return Ok(Err(WhyNot::Damaged(format!("it is of rehearsal {}", content.rehearsal))));
        }
        if let Some(why) = expected.why_not(&content) {
            return Ok(Err(why));
        }
        let mut report = match stored_receipt::report(store, &content).await? {
            Ok(report) => report,
            Err(why) => return Ok(Err(why)),
        };
        if report.verdict == Verdict::Fail {
            return Ok(Err(WhyNot::Failed(report.failure.unwrap_or_default())));
        }
        // A key that may nothing else stands for what takes nothing away: CI runs what anybody proposes.
        // Whether rows are touched says the plan's own text, as the report is what the key's owner says.
        let touches_rows = || expected.plan.steps.iter().any(more_than_drops);
        let limited = signed_by.filter(|by| by.only_receipts);
        if let Some(by) = &limited
            && (expected.command.is_some() || !report.losses.is_empty() || touches_rows())
        {
            return Ok(Err(WhyNot::OnlyReceipts(by.name.clone())));
        }
        if expected.command.is_none() {
            // By the files and the policy of today; those of a command are bound.
            accepted_loss::mark(&mut report.losses, expected.plan);
            report.findings = findings::all(expected.plan, &report, &expected.project.policy, &content.invalid_indexes);
        }
        report.refusals = accepted_loss::refusals(&report, expected.project);
        let limited = limited.is_some();
        if limited {
            report.ways_back.clear();
        }
        Ok(Ok(Candidate(Self { report, content, limited })))
    }

    /// Id of the rehearsal.
    pub fn rehearsal(&self) -> &str {
        &self.content.rehearsal
    }

    /// Its report.
    pub fn report(&self) -> &RehearsalReport {
        &self.report
    }

    /// Whether it is about this plan.
    pub fn covers(&self, plan: &Plan) -> bool {
        self.content.plan_hash == plan.hash().as_str()
    }

    /// The data that the plan loses and no file accepts, one line each.
    pub fn losses(&self) -> Vec<String> {
        self.report.open_losses()
    }

    /// What the plan did to the schema, without subscriptions and user mappings.
    pub fn changes(&self) -> &SchemaChanges {
        &self.content.changes
    }

    /// Normal form of the schema after the plan, without subscriptions and user mappings.
    pub fn schema_after(&self) -> &Schema {
        &self.content.schema_after
    }
}

impl Candidate {
    pub(super) fn new(receipt: Receipt) -> Self {
        Self(receipt)
    }

    /// Id of the rehearsal.
    pub fn rehearsal(&self) -> &str {
        self.0.rehearsal()
    }

    /// Its report.
    pub fn report(&self) -> &RehearsalReport {
        &self.0.report
    }

    /// Whether a key signed it that may sign receipts alone.
    pub(super) fn is_limited(&self) -> bool {
        self.0.limited
    }

    /// What a wrapped command took away that held nothing then.
    pub fn taken(&self) -> &[Taken] {
        self.0.content.command.as_ref().map(|bound| bound.taken.as_slice()).unwrap_or_default()
    }

    /// The receipt, when production's raw schema is still the one that the rehearsed snapshot was taken of: then the
    /// normal forms are equal, without being made. When not, they must be compared, and the candidate comes back.
    pub fn starting_from_raw(self, production: &RawRecord) -> Result<Receipt, Box<Self>> {
        if self.0.content.starting_raw.as_ref() == Some(production) { Ok(self.0) } else { Err(Box::new(self)) }
    }

    /// The receipt, when production's schema (in normal form) is the one it started from.
    pub fn starting_from(self, production: &Schema) -> Result<Receipt, WhyNot> {
        let difference = self.0.content.starting_schema.difference(&production.without_kinds(OUTSIDE_LINKS));
        if difference.is_empty() {
            Ok(self.0)
        } else {
            Err(WhyNot::OtherStartingSchema(difference.render(SHOWN).trim_end().to_owned()))
        }
    }
}

impl Expected<'_> {
    /// The first thing that differs.
    fn why_not(&self, content: &Content) -> Option<WhyNot> {
        let of_source = content.source == self.project.source;
        of_source.then(|| self.other_work(content)).flatten().or_else(|| self.other_circumstances(content))
    }

    /// How it is of other migrations, or of another command.
    fn other_work(&self, content: &Content) -> Option<WhyNot> {
        match (self.command, &content.command) {
            (None, None) if content.plan_hash == self.plan.hash().as_str() => None,
            (None, None) => Some(WhyNot::OtherPlan(self.other_plan(content))),
            (None, Some(_)) => Some(WhyNot::OtherKind("a command of `exec`, not of migrations")),
            (Some(_), None) => Some(WhyNot::OtherKind("migrations, not of a command")),
            (Some(_), Some(_)) if content.tool_version != env!("CARGO_PKG_VERSION") => {
                Some(WhyNot::OtherVersion(content.tool_version.clone()))
            }
            (Some(now), Some(rehearsed)) => now.why_not(rehearsed),
        }
    }

    /// The first thing that differs besides the plan.
    pub(super) fn other_circumstances(&self, content: &Content) -> Option<WhyNot> {
        let (source, role) = (&self.project.source, self.project.target.user());
        if content.source != *source {
            return Some(WhyNot::OtherSource { found: content.source.clone(), wanted: source.clone() });
        }
        if content.one_transaction != self.one_transaction {
            return Some(WhyNot::OtherGrouping { together: content.one_transaction });
        }
        if content.server_major != self.server_major {
            return Some(WhyNot::OtherMajor { found: content.server_major, wanted: self.server_major });
        }
        let read_by = |algorithm: u32, pg_dump: &str| format!("pg_dump {pg_dump} (fingerprint {algorithm})");
        let start = &content.starting_fingerprint;
        let (found, wanted) =
            (read_by(start.algorithm, &start.pg_dump), read_by(Fingerprint::ALGORITHM, &self.pg_dump));
        if found != wanted {
            return Some(WhyNot::OtherAlgorithm { found, wanted });
        }
        if content.role != role {
            return Some(WhyNot::OtherRole { found: content.role.clone(), wanted: role.to_owned() });
        }
        let age = self.now - content.created_at;
        if age.is_negative() && age.unsigned_abs() > CLOCKS_DIFFER {
            return Some(WhyNot::FromTheFuture(age.unsigned_abs()));
        }
        (age > self.max_age).then(|| WhyNot::TooOld { age: age.unsigned_abs(), limit: self.max_age })
    }

    /// In what the plans differ.
    fn other_plan(&self, content: &Content) -> String {
        if content.direction != direction_name(self.plan.direction) {
            return format!("its direction is {}", content.direction);
        }
        let steps = self.plan.steps.iter().map(|step| &step.migration);
        let now: Vec<(String, String)> = steps.map(|one| (one.id.to_string(), one.checksum.to_string())).collect();
        let checksum = |of: &[(String, String)], id: &str| of.iter().find(|one| one.0 == id).map(|one| one.1.clone());
        let mut differences = Vec::new();
        for (id, text) in &now {
            match checksum(&content.migrations, id) {
                None => differences.push(format!("{id} was not in it")),
                Some(rehearsed) if rehearsed != *text => differences.push(format!("{id} changed since")),
                Some(_) => {}
            }
        }
        let gone = content.migrations.iter().filter(|one| checksum(&now, &one.0).is_none());
        differences.extend(gone.map(|one| format!("{} is not to be run now", one.0)));
        if differences.is_empty() { "the order is another one".to_owned() } else { format_list(&differences) }
    }
}

/// The newest stored rehearsal that matches in all but the starting schema; else why the newest of this source does not.
pub async fn newest(store: &Store, expected: &Expected<'_>) -> Result<Result<Candidate, Option<String>>, Error> {
    let mut said = None;
    for id in stored_receipt::ids(store).await? {
        match Receipt::check(store, &id, expected).await? {
            Ok(candidate) => return Ok(Ok(candidate)),
            Err(WhyNot::OtherSource { .. } | WhyNot::OtherKind(_)) => {}
            Err(why) => {
                let old = matches!(why, WhyNot::TooOld { .. });
                said.get_or_insert_with(|| format!("rehearsal {id} does not count: {why}"));
                // The rest is older.
                if old {
                    break;
                }
            }
        }
    }
    Ok(Err(said))
}

/// Says why a stored rehearsal does not stand for a new one; an error where the operator named it.
pub fn refused(
    (rehearsal, named): (&str, bool),
    why: WhyNot,
    (store, operator): (&Store, &dyn Operator),
) -> Result<(), Error> {
    if why == WhyNot::NotAsWritten {
        operator.warn(&format!("ALARM: rehearsal {rehearsal} in {}: {why}", store.location()));
    }
    if named {
        return Err(Gate::Receipt { rehearsal: rehearsal.to_owned(), why: Box::new(why) }.into());
    }
    operator.step(&format!("rehearsal {rehearsal} does not count: {why}; rehearsing anew"));
    Ok(())
}

/// The rehearsal that the operator named, when it matches in all but the starting schema.
pub async fn named(store: &Store, id: &str, expected: &Expected<'_>) -> Result<Candidate, Error> {
    Receipt::check(store, id, expected)
        .await?
        .map_err(|why| Gate::Receipt { rehearsal: id.to_owned(), why: Box::new(why) }.into())
}

/// What `apply` goes by: a receipt, or a bypass that carries its reason.
#[derive(Clone, Debug)]
pub enum RehearsalEvidence {
    /// The plan was rehearsed.
    Receipt(Box<Receipt>),
    /// `--skip-rehearsal REASON`.
    Skipped(String),
}
