//! Running the rules on migrations.

use std::fmt;
use std::path::PathBuf;

use super::history::History;
use super::parsed::Parsed;
use super::rules::{self, Check, Hit, Place, Rule, Subject};
use crate::migration::{Direction, Migration, MigrationId, MigrationSet, Plan, Section};

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
    let mut history = History::default();
    let all: Vec<(&Migration, Vec<Parsed<'_>>)> =
        migrations.iter().map(|migration| (migration.as_ref(), parsed(&migration.up))).collect();
    all.iter().flat_map(|(_, section)| section).for_each(|one| history.learn_indexes(one));
    let mut findings = Vec::new();
    for (migration, statements) in &all {
        history.new_tables.clear();
        let found = of_section(migration, &migration.up, statements, &mut history);
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
    let steps: Vec<(&Migration, &Section, Vec<Parsed<'_>>)> = plan
        .steps
        .iter()
        .filter_map(|step| step.section().map(|section| (step.migration.as_ref(), section, parsed(section))))
        .collect();
    steps.iter().flat_map(|(_, _, section)| section).for_each(|one| history.learn_indexes(one));
    let mut findings = Vec::new();
    for (migration, section, statements) in &steps {
        if plan.direction == Direction::Apply {
            findings.extend(of_migration(migration));
        }
        findings.extend(of_section(migration, section, statements, &mut history));
    }
    findings
}

/// The statements of a plan that lose data by themselves, in the order in which they run.
///
/// Read from the text alone, so what the text does not show is not found: statements in a `DO` block or a called
/// function, rows that a foreign key deletes, values that a change of type cuts short. The rehearsal measures those.
pub fn data_loss(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in &plan.steps {
        let statements = step.section().map(parsed).unwrap_or_default();
        findings.extend(statements.iter().flat_map(|one| losses(&step.migration, one)));
    }
    findings
}

fn parsed(section: &Section) -> Vec<Parsed<'_>> {
    // What stands for a program is no SQL.
    let statements = section.statements.iter().filter(|_| section.program.is_none());
    statements.map(Parsed::new).collect()
}

fn of_section(
    migration: &Migration,
    section: &Section,
    statements: &[Parsed<'_>],
    history: &mut History,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut squawk = rules::violations(section, statements, &with_new_tables(history, statements));
    for (index, one) in statements.iter().enumerate() {
        let first = findings.len();
        findings.extend(losses(migration, one));
        let place = Place { migration, section: statements, index, transaction: section.transaction, history };
        for rule in rules::rules() {
            if let Check::Statement(check) = rule.check {
                findings.extend(check(&place).into_iter().map(|hit| finding(migration, rule, one, hit)));
            }
        }
        let own = squawk.extract_if(.., |(_, at, _)| *at == index);
        findings.extend(own.map(|(rule, _, hit)| finding(migration, rule, one, hit)));
        findings[first..].sort_by_key(|finding| finding.line);
        history.learn(one);
    }
    findings
}

/// Squawk looks at a section as a whole, so all that it makes counts as new.
fn with_new_tables(history: &History, statements: &[Parsed<'_>]) -> History {
    let mut after = History::default();
    after.new_tables.extend(history.new_tables.iter().cloned());
    after.new_tables.extend(statements.iter().flat_map(Parsed::creates));
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
    let allow = migration.allows.iter().find(|allow| allow.code == rule.code);
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
