//! Two definitions of a table, and the steps from one to the other.

mod not_null;
mod properties;

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::definitions::{Check, Column, Part, Relation};
use crate::postgres::quote_identifier;

use super::operation::{Mode, Operation};
pub(super) use not_null::shortened;
pub(super) use properties::option_changes;

/// When a step of a table comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Before types change: checks, defaults and generated columns that are in the way.
    Early,
    /// Types.
    Type,
    /// New columns.
    Add,
    /// What follows from them: defaults, NOT NULL, settings.
    Other,
    /// Checks.
    Check,
    /// What nothing uses any more.
    Late,
}

/// A step of a table.
#[derive(Clone, Debug)]
pub(super) struct TableStep {
    pub(super) stage: Stage,
    pub(super) operation: Operation,
    /// The quoted columns.
    pub(super) columns: Vec<String>,
    /// The step of the same table that must be done before (a chain such as add, validate, set).
    pub(super) after: Option<usize>,
    /// Whether others may use the table before this is done.
    pub(super) is_aside: bool,
    /// Whether it comes behind the others of its migration.
    pub(super) is_last: bool,
}

impl TableStep {
    /// The step without its table: a parent's that is equal is done for its children with it.
    pub(super) fn signature(&self, table: &str) -> String {
        // How values are converted is said of the parent only.
        let plain = |text: &str| {
            let text = text.split_once(" USING ").map_or(text, |(head, _)| head);
            text.replace(table, "").replace("ALTER TABLE ONLY ", "ALTER TABLE ")
        };
        format!("{:?} {}", self.stage, self.operation.up.iter().map(|one| plain(one)).collect::<Vec<_>>().join(";"))
    }
}

/// What else decides about the steps of a table.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Parts that must be taken away first and put back, because what they use is made anew.
    pub(super) reset: BTreeSet<Part>,
    /// Columns (quoted) whose type is replaced by one of the same name: done with the type.
    pub(super) retyped: BTreeSet<String>,
    /// The identity clauses, with the options of their sequences, of columns (quoted) that are new or go.
    pub(super) identities: BTreeMap<String, String>,
    /// Values for columns (as the catalog names them) that get NOT NULL.
    pub(super) values: BTreeMap<String, String>,
    /// Columns (as the catalog names them) whose old type has no cast to the new one: the value says how.
    pub(super) without_cast: BTreeSet<String>,
    /// A column (quoted) by whose order rows can be filled in batches.
    pub(super) batch_key: Option<String>,
    /// Words before the table's name that its app's tables share, left out of names of migrations.
    pub(super) short_name: String,
}

/// Columns of `want` that need a value in the rows that are there: NOT NULL, without a default, and not in `have`.
pub(in super::super) fn required_columns<'a>(have: &Relation, want: &'a Relation) -> Vec<&'a Column> {
    let new = want.columns.iter().filter(|one| have.column(&one.quoted).is_none() && !one.inherited);
    let by_itself = |one: &Column| one.default.is_some() || one.identity != ' ' || one.generated != ' ';
    new.filter(|one| one.not_null && !by_itself(one)).collect()
}

/// A table that is compared.
pub(super) struct Comparison<'a> {
    pub(super) have: &'a Relation,
    pub(super) want: &'a Relation,
    pub(super) around: &'a Around,
    steps: Vec<TableStep>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(have: &'a Relation, want: &'a Relation, around: &'a Around) -> Self {
        Self { have, want, around, steps: Vec::new() }
    }

    /// The steps, in an order in which they can run.
    pub(super) fn steps(mut self) -> Vec<TableStep> {
        for column in &self.want.columns {
            match self.have.column(&column.quoted) {
                Some(have) => self.change(have, column),
                None if column.inherited => {}
                None => self.add(column),
            }
        }
        for column in self.have.columns.iter().filter(|one| !one.inherited) {
            if self.want.column(&column.quoted).is_none() {
                self.drop(column);
            }
        }
        self.checks();
        self.properties();
        self.steps
    }

    fn alter(&self, rest: impl std::fmt::Display) -> String {
        format!("ALTER TABLE {} {rest}", self.want.path)
    }

    fn push(&mut self, stage: Stage, column: Option<&Column>, operation: Operation) -> usize {
        let columns = column.map(|one| one.quoted.clone()).into_iter().collect();
        self.steps.push(TableStep { stage, operation, columns, after: None, is_aside: false, is_last: false });
        self.steps.len() - 1
    }

    /// A step of two statements, there and back.
    fn simple(&mut self, stage: Stage, column: &Column, (up, down): (String, String)) -> usize {
        let (up, down) = (self.alter(up), self.alter(down));
        let operation = Operation::new(Mode::Together, vec![up], vec![down]);
        let operation = self.titled_change(operation, column);
        self.push(stage, Some(column), operation)
    }

    fn titled_change(&self, operation: Operation, column: &Column) -> Operation {
        let text = format!("Alter column {} of {}", column.name, self.want.name);
        operation.titled('~', text, format!("alter_{}_{}", self.around.short_name, column.name))
    }

    fn add(&mut self, column: &Column) {
        let identity = self.around.identities.get(&column.quoted);
        let has_default = column.default.is_some() || identity.is_some();
        let missing = column.not_null && !has_default && column.generated == ' ';
        let value = missing.then(|| self.around.values.get(&column.name)).flatten();
        let title = (
            format!("Add column {} to {}", column.name, self.want.name),
            format!("{}_add_{}", self.around.short_name, column.name),
        );
        let drop = self.alter(format!("DROP COLUMN {}", column.quoted));
        let plain = |not_null: bool, default: Option<&str>| {
            self.alter(format!("ADD COLUMN {}", definition(column, not_null, default, identity)))
        };
        let (mut up, mut fill) = (Vec::new(), None);
        match value {
            Some(value) if is_constant(value) => {
                up.push(plain(true, Some(value)));
                up.push(self.alter(format!("ALTER COLUMN {} DROP DEFAULT", column.quoted)));
            }
            Some(value) => {
                up.push(plain(false, None));
                fill = Some(value.clone());
            }
            None => up.push(plain(column.not_null, None)),
        }
        up.extend(self.settings(column, None).into_iter().map(|(up, _)| up));
        let stage = if column.generated == ' ' { Stage::Add } else { Stage::Check };
        let operation = Operation::new(Mode::Together, up, vec![drop]).titled('+', title.0, title.1);
        let added = self.push(stage, Some(column), operation);
        if let Some(value) = fill {
            self.fill_and_refuse_null(column, Some(&value), Some(added));
        }
    }

    fn drop(&mut self, column: &Column) {
        let up = vec![self.alter(format!("DROP COLUMN {}", column.quoted))];
        let identity = self.around.identities.get(&column.quoted);
        let mut down = vec![self.alter(format!("ADD COLUMN {}", definition(column, column.not_null, None, identity)))];
        down.extend(self.settings(column, None).into_iter().map(|(up, _)| up));
        let mut operation = Operation::new(Mode::Together, up, down).titled(
            '-',
            format!("Drop column {} from {}", column.name, self.want.name),
            format!("{}_drop_{}", self.around.short_name, column.name),
        );
        let filled = column.default.is_some() || column.identity != ' ' || column.generated != ' ';
        if column.not_null && !filled {
            operation = operation.irreversible(format!(
                "{}.{} was NOT NULL without a default: there is no value to bring it back with",
                self.want.name, column.name
            ));
        }
        // A generated column stands in the way of other types of what it comes from.
        let stage = if column.generated == ' ' { Stage::Late } else { Stage::Early };
        self.push(stage, Some(column), operation);
    }

    fn change(&mut self, have: &Column, want: &Column) {
        let expression = have.generated != ' ' && have.default != want.default && want.generated != ' ';
        let reset = self.around.reset.contains(&Part::Default(want.quoted.clone()));
        let retyped = have.data_type != want.data_type || have.collation != want.collation;
        let kind = have.generated != want.generated && (want.generated != ' ' || have.generated == 'v');
        if kind || expression || (want.generated != ' ' && (reset || retyped)) {
            return self.generate_anew(have, want);
        }
        if have.generated == 's' && want.generated == ' ' {
            let up = vec![self.alter(format!("ALTER COLUMN {} DROP EXPRESSION", want.quoted))];
            let operation = self.titled_change(
                Operation::new(Mode::Together, up, Vec::new())
                    .irreversible(format!("values of {} that were written since cannot be generated", want.name)),
                want,
            );
            self.push(Stage::Early, Some(want), operation);
        }
        let had = have.default.as_ref().filter(|_| have.generated == ' ');
        let wanted = want.default.as_ref().filter(|_| want.generated == ' ');
        let with_type = self.around.retyped.contains(&want.quoted);
        let in_the_way = had.is_some()
            && (retyped || reset)
            && !with_type
            && (had != wanted || have.category != want.category || reset);
        let default = |one: &Option<&String>| match one {
            Some(text) => format!("ALTER COLUMN {} SET DEFAULT {text}", want.quoted),
            None => format!("ALTER COLUMN {} DROP DEFAULT", want.quoted),
        };
        if in_the_way {
            self.simple(Stage::Early, want, (default(&None), default(&had)));
        }
        if retyped && !with_type {
            self.change_type(have, want);
        }
        if had != wanted || in_the_way {
            let before = if in_the_way { None } else { had };
            self.simple(Stage::Other, want, (default(&wanted), default(&before)));
        }
        self.change_not_null(have, want);
        let settings = self.settings(want, Some(have));
        for (up, down) in settings {
            let operation = Operation::new(Mode::Together, vec![up], down.into_iter().collect());
            let operation = self.titled_change(operation, want);
            self.push(Stage::Other, Some(want), operation);
        }
    }

    fn change_type(&mut self, have: &Column, want: &Column) {
        let change = |from: &Column, to: &Column| {
            let collation = to.collation.as_ref().map(|one| format!(" COLLATE {one}")).unwrap_or_default();
            let by_itself =
                from.category == to.category && matches!(to.category, 'N' | 'S') && from.is_array == to.is_array;
            let by_itself = by_itself || from.data_type == to.data_type;
            let value = self.around.values.get(&to.name).filter(|_| self.around.without_cast.contains(&to.name));
            let using = match value {
                Some(value) => format!(" USING ({value})"),
                None if by_itself => String::new(),
                // From one enum to another there is no cast but by the label.
                None if from.category == 'E' && to.category == 'E' => {
                    format!(" USING {0}::text::{1}", to.quoted, to.data_type)
                }
                None => format!(" USING {}::{}", to.quoted, to.data_type),
            };
            format!("ALTER COLUMN {} TYPE {}{collation}{using}", to.quoted, to.data_type)
        };
        if self.around.without_cast.contains(&want.name) {
            let up = vec![self.alter(change(have, want))];
            let why = format!("PostgreSQL has no cast from {} to {}", want.data_type, have.data_type);
            let operation = self.titled_change(Operation::new(Mode::Together, up, Vec::new()).irreversible(why), want);
            self.push(Stage::Type, Some(want), operation);
            return;
        }
        self.simple(Stage::Type, want, (change(have, want), change(want, have)));
    }

    /// A generated column of another expression is made anew: its values come from the others.
    fn generate_anew(&mut self, have: &Column, want: &Column) {
        let add = |one: &Column| self.alter(format!("ADD COLUMN {}", definition(one, one.not_null, None, None)));
        let drop = self.alter(format!("DROP COLUMN {}", want.quoted));
        let (to, back) = (add(want), add(have));
        let mut first = Operation::new(Mode::Together, vec![drop.clone()], vec![back]);
        if have.generated == ' ' {
            first = first.irreversible(format!("the values that {} had are gone", want.name));
        }
        let first = self.titled_change(first, want);
        self.push(Stage::Early, Some(want), first);
        let stage = if want.generated == ' ' { Stage::Add } else { Stage::Check };
        self.push(stage, Some(want), Operation::new(Mode::Together, vec![to], vec![drop]));
    }

    /// Statements about how values are stored; of a new column (`have` is none) those that differ from its type's.
    fn settings(&self, want: &Column, have: Option<&Column>) -> Vec<(String, Option<String>)> {
        let mut found = Vec::new();
        let column = &want.quoted;
        let mut differs = |up: String, down: Option<String>| {
            found.push((
                self.alter(format!("ALTER COLUMN {column} {up}")),
                down.map(|down| self.alter(format!("ALTER COLUMN {column} {down}"))),
            ));
        };
        // Another type brings its own storage.
        let stored = have.map_or(want.type_storage, |one| {
            if one.data_type == want.data_type { one.storage } else { want.type_storage }
        });
        if want.storage != stored {
            differs(format!("SET STORAGE {}", want.storage), have.map(|one| format!("SET STORAGE {}", one.storage)));
        }
        let compression = |one: Option<&'static str>| format!("SET COMPRESSION {}", one.unwrap_or("default"));
        let had = have.and_then(|one| one.compression);
        if want.compression != had {
            differs(compression(want.compression), have.map(|one| compression(one.compression)));
        }
        let target = |one: Option<i32>| format!("SET STATISTICS {}", one.unwrap_or(-1));
        if want.statistics != have.and_then(|one| one.statistics) {
            differs(target(want.statistics), have.map(|one| target(one.statistics)));
        }
        let none = Vec::new();
        let options = have.map_or(&none, |one| &one.options);
        if let Some((up, down)) = option_changes(options, &want.options, &format!("ALTER COLUMN {column} ")) {
            found.push((self.alter(up), have.is_some().then(|| self.alter(down))));
        }
        found
    }
}

/// A column as `ADD COLUMN` takes it.
fn definition(column: &Column, not_null: bool, default: Option<&str>, identity: Option<&String>) -> String {
    let mut text = format!("{} {}", column.quoted, column.data_type);
    if let Some(collation) = &column.collation {
        text += &format!(" COLLATE {collation}");
    }
    let expression = column.default.as_deref();
    match (column.generated, default.or(expression)) {
        ('s', Some(expression)) => text += &format!(" GENERATED ALWAYS AS ({expression}) STORED"),
        ('v', Some(expression)) => text += &format!(" GENERATED ALWAYS AS ({expression}) VIRTUAL"),
        (_, Some(value)) => text += &format!(" DEFAULT {value}"),
        _ => {}
    }
    if let Some(identity) = identity {
        text += &format!(" {identity}");
    }
    match &column.not_null_name {
        Some(name) if not_null => text += &format!(" CONSTRAINT {name} NOT NULL"),
        None if not_null => text += " NOT NULL",
        _ => {}
    }
    text
}

/// Whether a value is the same in every row whatever happens: a literal, with a cast or not.
fn is_constant(value: &str) -> bool {
    let tokens = crate::migration::split_statements(value, 1).unwrap_or_default();
    let [statement] = tokens.as_slice() else { return false };
    let words = statement.tokens();
    let literal = |word: &str| {
        word.starts_with('\'')
            || word.starts_with(|c: char| c.is_ascii_digit())
            || ["true", "false"].contains(&word.to_ascii_lowercase().as_str())
    };
    match words.as_slice() {
        [one] => literal(one),
        ["-", one] => literal(one),
        [one, rest @ ..] => literal(one) && rest.first().is_some_and(|word| word.starts_with(':')),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_a_literal() {
        for constant in ["''", "'x'::text", "0", "-1", "true", "'{}'::jsonb"] {
            assert!(is_constant(constant), "{constant}");
        }
        for other in ["now()", "name || ''", "price", "(SELECT 1)", "1 + 1"] {
            assert!(!is_constant(other), "{other}");
        }
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(shortened("a", "_x"), "a_x");
        let long = shortened(&"é".repeat(40), "_is_not_null");
        assert!(long.len() <= 63 && long.ends_with("_is_not_null"));
    }
}
