//! The step that runs, and what is known of the relations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::effects::{HeldLock, SizeChange, StatementEffects, StepEffects};
use super::relation::{Counters, Reading, Relation};
use super::sampler::Samples;
use crate::migration::{Section, Statement};
use crate::postgres::lock_mode::LockMode;

/// What is known between two readings.
#[derive(Debug)]
pub(super) struct State {
    /// Relations as they are now, with what the running transaction did.
    pub(super) known: BTreeMap<u32, Relation>,
    /// Whether `known` may hold what was rolled back.
    pub(super) unsure: bool,
    pub(super) step: Step,
}

/// The step that runs.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) in_transaction: bool,
    /// Relations that were there when it began.
    pub(super) existing: BTreeSet<u32>,
    pub(super) held: BTreeSet<(u32, LockMode)>,
    /// Counters that were published before it.
    pub(super) published: BTreeMap<u32, Counters>,
    pub(super) begun: Instant,
    /// Time that reading took; not the migration's.
    pub(super) tracing: Duration,
    /// Start of the first statement that was not read after.
    pub(super) since: Option<Duration>,
    /// Start of the last statement.
    pub(super) started: Duration,
    pub(super) wal: u64,
    pub(super) wal_at_begin: u64,
    pub(super) temporary_at_begin: Option<u64>,
    /// Statements of the section.
    pub(super) total: usize,
    /// Relations that the last reading found locked.
    pub(super) locked: usize,
    /// Statements since then that only made something.
    pub(super) unread: usize,
    /// Tables that it made, as they are written.
    pub(super) made: Made,
    /// Statements after which nothing is asked: `SET TRANSACTION ISOLATION LEVEL` is refused after a query.
    pub(super) silent: usize,
    pub(super) samples: Samples,
    pub(super) effects: StepEffects,
}

impl Step {
    pub(super) fn new() -> Self {
        Self {
            in_transaction: false,
            existing: BTreeSet::new(),
            held: BTreeSet::new(),
            published: BTreeMap::new(),
            begun: Instant::now(),
            tracing: Duration::ZERO,
            since: None,
            started: Duration::ZERO,
            wal: 0,
            wal_at_begin: 0,
            temporary_at_begin: None,
            total: 0,
            locked: 0,
            unread: 0,
            made: Made::default(),
            silent: 0,
            samples: Samples::default(),
            effects: StepEffects::default(),
        }
    }

    /// Time since the step began, without that of tracing.
    pub(super) fn clock(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.tracing)
    }

    /// Whether nothing is asked after this statement; what it did is then seen after a later one.
    pub(super) fn stays_silent(&mut self, statement: &Statement) -> bool {
        let number = self.effects.statements.len();
        let makes = only_makes(statement) || self.made.alone_are_meant(statement);
        self.made.learn(statement);
        let may_wait = makes && number + 1 < self.total && !is_due(self.unread, self.locked);
        let silent = self.in_transaction && (number < self.silent || may_wait);
        self.unread = if silent { self.unread + 1 } else { 0 };
        if silent {
            self.effects.statements.push(StatementEffects { started: self.started, ..StatementEffects::default() });
        }
        silent
    }
}

impl State {
    /// Compares what was read after a statement with what is known from before it.
    pub(super) fn add(&mut self, reading: Reading, truncates: bool, begun: Instant) {
        let Self { known, step, .. } = self;
        let (started, sampled) = (step.started, !step.in_transaction);
        let mut effects = StatementEffects { started, sampled, ..StatementEffects::default() };
        effects.wal_bytes = reading.wal.saturating_sub(step.wal);
        step.wal = reading.wal;
        let touched: BTreeSet<u32> = if step.in_transaction {
            reading.locks.iter().map(|(oid, _)| *oid).collect()
        } else {
            known.keys().chain(reading.relations.keys()).copied().collect()
        };
        effects.fill(truncates, touched.iter().copied(), known, &reading.relations);
        for (oid, mode, begins, held) in step.new_locks(&reading) {
            let Some(relation) = reading.relations.get(&oid).or_else(|| known.get(&oid)) else { continue };
            let table = reading.relations.get(&relation.table).or_else(|| known.get(&relation.table));
            effects.locks.push(HeldLock {
                relation: relation.name.clone(),
                mode,
                held,
                begins,
                existed: step.existing.contains(&oid),
                index_of: table.map(|table| table.name.clone()),
            });
        }
        effects.locks.sort_by(|a, b| (&a.relation, a.mode).cmp(&(&b.relation, b.mode)));
        step.note_sizes(&effects, &touched, known, &reading.relations);
        for oid in touched {
            match reading.relations.get(&oid) {
                Some(relation) => known.insert(oid, relation.clone()),
                None => known.remove(&oid),
            };
        }
        step.effects.statements.push(effects);
        step.tracing += begun.elapsed();
    }
}

impl Step {
    /// The locks that came since the last reading, with their begin and (outside a transaction) their length.
    fn new_locks(&mut self, reading: &Reading) -> Vec<(u32, LockMode, Duration, Duration)> {
        if !self.in_transaction {
            let samples = std::mem::take(&mut self.samples);
            return samples.held().map(|(oid, mode, held)| (oid, mode, self.started, held)).collect();
        }
        let since = self.since.take().unwrap_or_default();
        let new = reading.locks.iter().filter(|lock| self.held.insert(**lock));
        new.map(|(oid, mode)| (*oid, *mode, since, Duration::ZERO)).collect()
    }

    /// Notes how large the tables are that the statement locked or changed. Outside a transaction `touched` is every
    /// relation, and only those count that a sample or a change shows.
    fn note_sizes(
        &mut self,
        effects: &StatementEffects,
        touched: &BTreeSet<u32>,
        before: &BTreeMap<u32, Relation>,
        after: &BTreeMap<u32, Relation>,
    ) {
        for oid in touched {
            let (old, new) = (before.get(oid), after.get(oid));
            let Some(relation) = new.or(old).filter(|relation| relation.has_rows()) else { continue };
            let changed = || effects.sizes.iter().any(|size| size.relation == relation.name);
            let locked = || effects.locks.iter().any(|lock| lock.relation == relation.name);
            if !self.in_transaction && !changed() && !locked() {
                continue;
            }
            let before = old.map_or(0, |relation| relation.bytes);
            let size = SizeChange { relation: relation.name.clone(), before, after: 0 };
            let size = self.effects.tables.entry(*oid).or_insert(size);
            size.after = new.map_or(0, |relation| relation.bytes);
        }
    }
}

/// As many relations, at most, are read for each statement that only makes something. A reading costs by what the transaction
/// has locked by then: after each of 1,600 `CREATE TABLE` it took 24 times the statements themselves.
const RELATIONS_PER_STATEMENT: usize = 8;
/// As many are read after each of them.
const FEW: usize = 100;

/// Whether it is time to read after statements that only made something.
fn is_due(unread: usize, locked: usize) -> bool {
    locked <= FEW || (unread + 1) * RELATIONS_PER_STATEMENT >= locked
}

/// Whether a statement makes something new and does no more: what it locks of others, it locks for as long as the next one
/// will, and is seen after that one.
fn only_makes(statement: &Statement) -> bool {
    const MAKING: &[&[&str]] = &[
        &["COMMENT", "ON"],
        &["CREATE", "DOMAIN"],
        &["CREATE", "FUNCTION"],
        &["CREATE", "SCHEMA"],
        &["CREATE", "SEQUENCE"],
        &["CREATE", "TABLE"],
        &["CREATE", "TYPE"],
        &["CREATE", "VIEW"],
    ];
    let words = |expected: &[&str]| {
        let mut found = statement.text.split_whitespace();
        expected.iter().all(|word| found.next().is_some_and(|found| found.eq_ignore_ascii_case(word)))
    };
    // `CREATE TABLE … AS` reads others.
    MAKING.iter().any(|expected| words(expected))
        && !statement.text.split_whitespace().any(|word| word.eq_ignore_ascii_case("SELECT"))
}

/// Tables that a step made, by the names that it wrote: nobody else waits for them, and they hold nothing of production's.
#[derive(Debug, Default)]
pub(super) struct Made(BTreeSet<String>);

impl Made {
    fn learn(&mut self, statement: &Statement) {
        let words = Words::of(statement);
        match words.begin(2).as_slice() {
            ["CREATE", "TABLE"] => self.0.extend(words.path(2)),
            ["SET" | "RESET" | "DROP" | "DO" | "CALL", _] => self.0.clear(),
            _ if words.has("RENAME") || words.has("SCHEMA") => self.0.clear(),
            _ => {}
        }
    }

    /// Whether a statement is about these tables only: an index, a constraint, a trigger.
    fn alone_are_meant(&self, statement: &Statement) -> bool {
        let words = Words::of(statement);
        let behind = |word: &str| words.0.iter().position(|one| one == word).map(|at| at + 1);
        let about = match words.begin(3).as_slice() {
            ["CREATE", "INDEX", _] | ["CREATE", "UNIQUE", "INDEX"] | ["CREATE", "TRIGGER", _] => behind("ON"),
            ["ALTER", "TABLE", _] if words.has("ADD") || words.has("OWNER") || words.has("ALTER") => Some(2),
            _ => None,
        };
        let is_made = |at: usize| words.path(at).is_some_and(|path| self.0.contains(&path));
        let only = about.map(|at| if words.0.get(at).is_some_and(|one| one == "ONLY") { at + 1 } else { at });
        let refers = words.0.iter().enumerate().filter(|(_, word)| *word == "REFERENCES");
        let moves = ["PARTITION", "INHERIT", "SELECT"].iter().any(|word| words.has(word));
        only.is_some_and(is_made) && !moves && refers.into_iter().all(|(at, _)| is_made(at + 1))
    }
}

/// The tokens of a statement, words in upper case and names in quotes as they are.
struct Words(Vec<String>);

impl Words {
    fn of(statement: &Statement) -> Self {
        let fold = |token: &str| if token.starts_with('"') { token.to_owned() } else { token.to_ascii_uppercase() };
        Self(statement.tokens().into_iter().map(fold).collect())
    }

    fn begin(&self, count: usize) -> Vec<&str> {
        self.0.iter().take(count).map(String::as_str).collect()
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|one| one == word)
    }

    /// `schema.name` or `name` at this place.
    fn path(&self, at: usize) -> Option<String> {
        let mut path = self.0.get(at)?.clone();
        if self.0.get(at + 1).is_some_and(|dot| dot == ".") {
            path = format!("{path}.{}", self.0.get(at + 2)?);
        }
        Some(path)
    }
}

/// How many statements at the head of a section must not be followed by a query.
pub(super) fn silent_statements(section: &Section) -> usize {
    let sets_transaction = |statement: &Statement| {
        let text = statement.text.to_ascii_uppercase();
        text.starts_with("SET") && text.contains("TRANSACTION")
    };
    section.statements.iter().rposition(sets_transaction).map_or(0, |last| last + 1)
}

pub(super) fn truncates(statement: &Statement) -> bool {
    statement.text.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("TRUNCATE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relations that are read in all while N tables are made, each of which locks four.
    fn read_for(statements: usize) -> usize {
        let (mut unread, mut locked, mut read) = (0, 0, 0);
        for number in 0..statements {
            if number + 1 < statements && !is_due(unread, locked) {
                unread += 1;
                continue;
            }
            (unread, locked) = (0, 4 * (number + 1));
            read += locked;
        }
        read
    }

    #[test]
    fn what_is_about_new_tables_alone_is_told_from_the_rest() {
        let of = |text: &str| Statement { text: text.to_owned(), line: 1 };
        let mut made = Made::default();
        for text in ["CREATE TABLE dish (id int)", "CREATE TABLE kitchen.\"Line\" (id int)"] {
            made.learn(&of(text));
        }
        for text in [
            "CREATE UNIQUE INDEX i ON dish (id)",
            "CREATE INDEX ON ONLY Dish USING btree (id)",
            "ALTER TABLE ONLY kitchen.\"Line\" ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES dish (id)",
            "CREATE TRIGGER t BEFORE UPDATE OF id ON dish FOR EACH ROW EXECUTE FUNCTION f()",
            "ALTER TABLE dish OWNER TO cook",
        ] {
            assert!(made.alone_are_meant(&of(text)), "{text}");
        }
        for text in [
            "CREATE INDEX ON old (id)",
            "CREATE INDEX ON kitchen.dish (id)",
            "ALTER TABLE dish ADD FOREIGN KEY (id) REFERENCES old (id)",
            "ALTER TABLE old ADD FOREIGN KEY (id) REFERENCES dish (id)",
            "ALTER TABLE dish ATTACH PARTITION old FOR VALUES IN (1)",
            "INSERT INTO dish VALUES (1)",
        ] {
            assert!(!made.alone_are_meant(&of(text)), "{text}");
        }
        made.learn(&of("SET search_path = attic"));
        assert!(!made.alone_are_meant(&of("CREATE INDEX ON dish (id)")));
    }

    #[test]
    fn what_is_read_grows_with_the_statements_and_not_with_their_square() {
        let grown = (read_for(8_000) as f64 / read_for(1_000) as f64).ln() / 8f64.ln();
        assert!(grown < 1.1, "{grown}");
        assert!(read_for(5_000) / 5_000 <= 2 * RELATIONS_PER_STATEMENT, "{}", read_for(5_000));
        // Few are read each time, so that each statement is told what it did.
        assert_eq!(read_for(6), (1..=6).map(|made| 4 * made).sum::<usize>());
    }
}
