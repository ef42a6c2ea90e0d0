//! Running the rules on migrations.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use squawk_syntax::ast;

use super::history::History;
use super::parsed::Parsed;
use super::rules::{self, Check, Hit, Place, Rule, Subject};
use super::section::SectionFacts;
use crate::migration::{Direction, Migration, MigrationId, MigrationSet, Plan, Section, Statement};

/// One remark on a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, such as `drop-table`; what `-- allow:` names.
    pub code: &'static str,
    /// Which measurement proves or disproves it.
    pub subject: Subject,
    /// What the statement does, in one sentence.
    pub message: String,
    /// What to do instead.
    pub remedy: &'static str,
    /// The migration.
    pub migration: MigrationId,
    /// Its file.
    pub file: PathBuf,
    /// The line in the file, 1-based.
    pub line: u32,
    /// The line on which the statement begins.
    pub statement_line: u32,
    /// The tables, or `table.column`, that it is about, without schema.
    pub objects: Vec<String>,
    /// The reason given in the file's `-- allow: code why` line, if it accepts this finding.
    pub allowed: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]", self.file.display(), self.line, self.message, self.code)
    }
}

/// The remarks on the up sections of the migrations that are wanted, each taken for a run of its own on a database with
/// rows and users. Down sections are not looked at: that they drop what the up section made is their purpose.
pub fn lint_files(migrations: &MigrationSet, wanted: impl Fn(&Migration) -> bool) -> Vec<Finding> {
    lint_files_while(migrations, wanted, &|| true)
}

/// The same as long as `go_on` says so, which is asked before each statement; what is found by then is returned.
pub fn lint_files_while(
    migrations: &MigrationSet,
    wanted: impl Fn(&Migration) -> bool,
    go_on: &dyn Fn() -> bool,
) -> Vec<Finding> {
    let mut history = History::default();
    let all: Vec<(&Migration, SectionFacts)> =
        migrations.iter().map(|one| (one.as_ref(), facts_of(&one.up, &mut history, go_on))).collect();
    let mut findings = Vec::new();
    for (migration, facts) in &all {
        history.new_tables.clear();
        let found = of_section(migration, &migration.up, facts, &mut history, go_on);
        if wanted(migration) {
            findings.extend(of_migration(migration));
            findings.extend(found);
        }
    }
    findings
}

/// The remarks on the statements of a plan, in the order in which they run.
pub fn lint_plan(plan: &Plan) -> Vec<Finding> {
    let mut history = History::default();
    let sections = plan.steps.iter().filter_map(|step| Some((step.migration.as_ref(), step.section()?)));
    let steps: Vec<(&Migration, &Section, SectionFacts)> =
        sections.map(|(migration, section)| (migration, section, facts_of(section, &mut history, &|| true))).collect();
    let mut findings = Vec::new();
    for (migration, section, facts) in &steps {
        if plan.direction == Direction::Apply {
            findings.extend(of_migration(migration));
        }
        findings.extend(of_section(migration, section, facts, &mut history, &|| true));
    }
    findings
}

/// The statements of a plan that lose data by themselves, in the order in which they run.
///
/// Read from the text alone, so what the text does not show is not found: statements in a `DO` block or a called
/// function, rows that a foreign key deletes, values that a change of type cuts short. The rehearsal measures those.
pub fn data_loss(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut made = Made::default();
    for step in &plan.steps {
        for statement in step.section().into_iter().flat_map(statements) {
            let parsed = Parsed::new(statement);
            let found = losses(&step.migration, &parsed).into_iter();
            findings.extend(found.filter(|one| one.code == "drop-schema" || !made.has_all_of(one, &parsed)));
            if plan.direction == Direction::Apply {
                made.learn(&parsed);
            }
        }
    }
    findings
}

/// Tables that a plan has made so far, as they are written: they hold nothing of production's.
#[derive(Debug, Default)]
struct Made {
    names: BTreeSet<String>,
    /// A name without a schema may mean another table from then on.
    lost_track: bool,
}

impl Made {
    fn learn(&mut self, parsed: &Parsed<'_>) {
        self.lost_track |= parsed.says(&["SEARCH_PATH"]);
        // One that may have been there is none of ours.
        if parsed.first::<ast::IfNotExists>().is_none() {
            self.names.extend(parsed.creates().iter().flat_map(|name| parsed.written(name)));
        }
    }

    fn has_all_of(&self, finding: &Finding, parsed: &Parsed<'_>) -> bool {
        let is_made = |object: &String| {
            let table = object.split('.').next().unwrap_or_default();
            parsed.written(table).iter().all(|name| self.names.contains(name))
        };
        !self.lost_track && !finding.objects.is_empty() && finding.objects.iter().all(is_made)
    }
}

/// The statements of a section; what stands for a program is no SQL.
fn statements(section: &Section) -> impl Iterator<Item = &Statement> {
    section.statements.iter().filter(|_| section.program.is_none())
}

/// Reads a section, one statement at a time: the trees of all of them would take fifty times the text.
fn facts_of(section: &Section, history: &mut History, go_on: &dyn Fn() -> bool) -> SectionFacts {
    let mut facts = SectionFacts::default();
    for statement in statements(section).take_while(|_| go_on()) {
        let parsed = Parsed::new(statement);
        history.learn_indexes(&parsed);
        facts.learn(&parsed);
    }
    facts
}

fn of_section(
    migration: &Migration,
    section: &Section,
    facts: &SectionFacts,
    history: &mut History,
    go_on: &dyn Fn() -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut squawk = rules::violations(section, facts, &with_new_tables(history, facts));
    for (index, statement) in statements(section).take_while(|_| go_on()).enumerate() {
        if facts.is_quiet(index) {
            continue;
        }
        let one = &Parsed::new(statement);
        let first = findings.len();
        findings.extend(losses(migration, one));
        let place = Place { migration, parsed: one, facts, index, transaction: section.transaction, history };
        for rule in rules::rules() {
            if let Check::Statement(check) = rule.check {
                findings.extend(check(&place).into_iter().map(|hit| finding(migration, rule, one, hit)));
            }
        }
        let own = squawk.remove(&index).unwrap_or_default();
        findings.extend(own.into_iter().map(|(rule, hit)| finding(migration, rule, one, hit)));
        findings[first..].sort_by_key(|finding| finding.line);
        history.learn(one);
    }
    findings
}

/// Squawk looks at a section as a whole, so all that it makes counts as new.
fn with_new_tables(history: &History, facts: &SectionFacts) -> History {
    let mut after = History::default();
    after.new_tables.extend(history.new_tables.iter().cloned());
    after.new_tables.extend(facts.creates.iter().cloned());
    after
}

fn losses(migration: &Migration, statement: &Parsed<'_>) -> Vec<Finding> {
    let losses = rules::losses(statement).into_iter();
    losses.filter_map(|loss| Some(finding(migration, rules::rule(loss.code)?, statement, loss.hit))).collect()
}

fn finding(migration: &Migration, rule: &'static Rule, statement: &Parsed<'_>, hit: Hit) -> Finding {
    let line = statement.statement.line;
    Finding { objects: hit.objects, ..remark(migration, rule, hit.message, (line, line + hit.lines_down)) }
}

fn remark(migration: &Migration, rule: &'static Rule, message: String, lines: (u32, u32)) -> Finding {
    let allow = migration.allows.iter().find(|allow| allow.code == rule.code && rule.code != rules::LEDGER_TOUCHED);
    Finding {
        code: rule.code,
        subject: rule.subject,
        message,
        remedy: rule.remedy,
        migration: migration.id.clone(),
        file: migration.path.clone(),
        line: lines.1,
        statement_line: lines.0,
        objects: Vec::new(),
        allowed: allow.map(|allow| allow.why.clone()),
    }
}

fn of_migration(migration: &Migration) -> Vec<Finding> {
    let found = rules::rules().filter_map(|rule| match rule.check {
        Check::Migration(check) => check(migration).map(|message| remark(migration, rule, message, (1, 1))),
        _ => None,
    });
    found.collect()
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
