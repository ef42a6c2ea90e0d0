//! What a recovery will do, and what it did, for the operator and for scripts.

use serde::Serialize;
use time::OffsetDateTime;

use crate::postgres::RunRecord;
use crate::postgres::foreign_code::ForeignCode;
use crate::report::format_things;
use crate::snapshot::SnapshotId;

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct PartRequest {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The tables, as typed; several only when they get the rows that they lack.
    pub tables: Vec<String>,
    /// The column, when only that is wanted.
    pub column: Option<String>,
    /// What becomes of the table that is there.
    pub mode: Mode,
    /// Which rows of the snapshot, as an SQL condition.
    pub condition: Option<String>,
    /// Rows of one transaction; all in one when none.
    pub batch: Option<u64>,
    /// Whether to stop after the counts.
    pub dry_run: bool,
    /// Why functions of roles that are not trusted may run; none: a person is asked.
    pub run_foreign_code: Option<String>,
    /// The command in words, for the records.
    pub command: String,
}

/// What becomes of a table that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is left alone; the old one is put beside it under a new name.
    Beside,
    /// It is renamed, and the old one takes its name.
    Replace,
    /// It gets the rows that it lacks.
    Missing,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Values of a column are written back.
    Column,
    /// A column that is not there comes back.
    ColumnReturns,
    /// Rows that are not there are inserted.
    Missing,
    /// A table is made beside the present one.
    Beside,
    /// A table that is not there comes back.
    TableReturns,
    /// A table takes the place of the present one, which is renamed.
    Replace,
}

/// A foreign key that a recovery touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignKeyCheck {
    /// Its name.
    pub name: String,
    /// The table that has it.
    pub table: String,
    /// The table that it points to.
    pub references: String,
    /// Rows that would have no match.
    pub orphans: u64,
    /// Why it does not come back, when it does not.
    pub left_out: Option<String>,
}

/// What a recovery will do, before it does anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartPlan {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub taken: OffsetDateTime,
    /// `schema.table` of the live database.
    pub table: String,
    /// The column.
    pub column: Option<String>,
    /// What is done.
    pub action: Action,
    /// The condition on the snapshot's rows.
    pub condition: Option<String>,
    /// Table that is made.
    pub makes: Option<String>,
    /// Name that the present table gets.
    pub keeps: Option<String>,
    /// Rows of the snapshot that take part.
    pub snapshot_rows: u64,
    /// Rows of the live table.
    pub live_rows: u64,
    /// Rows that are inserted.
    pub inserts: u64,
    /// Values that are overwritten.
    pub overwrites: u64,
    /// Rows that are in both and stay as they are.
    pub unchanged: u64,
    /// Rows that only the live table has; they stay.
    pub only_live: u64,
    /// Rows that only the snapshot has.
    pub only_snapshot: u64,
    /// Columns that only the snapshot has.
    pub columns_only_snapshot: Vec<String>,
    /// Columns that only the live table has.
    pub columns_only_live: Vec<String>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKeyCheck>,
    /// Triggers of users that will fire.
    pub triggers: Vec<String>,
    /// Functions of roles that are not trusted which writing would run with our rights.
    pub foreign_code: Vec<ForeignCode>,
    /// Types, functions and the like that are made first.
    pub makes_first: Vec<String>,
    /// What else the operator should know.
    pub notes: Vec<String>,
}

/// What a recovery did.
#[derive(Clone, Debug)]
pub struct PartReport {
    /// What was planned for each table.
    pub plans: Vec<PartPlan>,
    /// What was done; none after a dry run, or when there was nothing to do.
    pub done: Option<PartDone>,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct PartDone {
    /// The run.
    pub run: RunRecord,
    /// Rows inserted or values written.
    pub changed: u64,
    /// Tables that keep what was overwritten or inserted.
    pub saved: Vec<String>,
    /// What turned out otherwise than planned.
    pub notes: Vec<String>,
}

impl PartPlan {
    /// A plan without counts.
    pub(super) fn new(
        action: Action,
        table: String,
        column: Option<String>,
        snapshot: &crate::snapshot::Manifest,
    ) -> Self {
        Self {
            snapshot: snapshot.id.clone(),
            taken: snapshot.started_at,
            table,
            column,
            action,
            condition: None,
            makes: None,
            keeps: None,
            snapshot_rows: 0,
            live_rows: 0,
            inserts: 0,
            overwrites: 0,
            unchanged: 0,
            only_live: 0,
            only_snapshot: 0,
            columns_only_snapshot: Vec::new(),
            columns_only_live: Vec::new(),
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            foreign_code: Vec::new(),
            makes_first: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        matches!(self.action, Action::Column | Action::Missing) && self.inserts + self.overwrites == 0
    }

    /// What will be done, in one line without a full stop.
    pub fn summary(&self) -> String {
        let (table, rows) = (&self.table, |number| format_things(number, "row"));
        let column = self.column.as_deref().unwrap_or_default();
        let makes = self.makes.as_deref().unwrap_or(table);
        match self.action {
            Action::Column => {
                format!("overwrite {column} in {} of {table} with the values of the snapshot", rows(self.overwrites))
            }
            Action::ColumnReturns => {
                format!("bring {column} of {table} back, with the values of {}", rows(self.overwrites))
            }
            Action::Missing => format!("insert {} into {table}", rows(self.inserts)),
            Action::Beside => format!("make {makes} beside {table}, with {}", rows(self.inserts)),
            Action::TableReturns => format!("bring {table} back, with {}", rows(self.inserts)),
            Action::Replace => format!(
                "put {table} back, with {}; the present one ({}) is kept as {}",
                rows(self.inserts),
                rows(self.live_rows),
                self.keeps.as_deref().unwrap_or_default()
            ),
        }
    }

    /// The counts and remarks, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary()];
        let rows = |number| format_things(number, "row");
        let chosen = if self.condition.is_some() { " that the condition chooses" } else { "" };
        lines.push(format!(
            "  in the snapshot{chosen}: {}; live now: {}",
            rows(self.snapshot_rows),
            rows(self.live_rows)
        ));
        match self.action {
            Action::Column | Action::ColumnReturns => {
                lines.push(format!(
                    "  already equal: {}; only live, kept as they are: {}; only in the snapshot, left out: {}",
                    rows(self.unchanged),
                    rows(self.only_live),
                    rows(self.only_snapshot)
                ));
            }
            Action::Missing => {
                lines.push(format!(
                    "  in both, left alone: {}; only live, kept: {}",
                    rows(self.unchanged),
                    rows(self.only_live)
                ));
            }
            _ => {}
        }
        let code = self.foreign_code.iter().map(ToString::to_string).collect();
        let named = [
            ("made first", &self.makes_first),
            ("columns that only the snapshot has, left out", &self.columns_only_snapshot),
            ("columns that only the live table has, given their default", &self.columns_only_live),
            ("triggers that will fire", &self.triggers),
            ("runs with your rights, of roles that are not trusted", &code),
        ];
        lines.extend(
            named
                .iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(what, names)| format!("  {what}: {}", names.join(", "))),
        );
        for key in &self.foreign_keys {
            lines.push(match &key.left_out {
                Some(why) => format!("  foreign key {} of {} does not come back: {why}", key.name, key.table),
                None => format!(
                    "  foreign key {} of {}: every row has its match in {}",
                    key.name, key.table, key.references
                ),
            });
        }
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        lines
    }
}
