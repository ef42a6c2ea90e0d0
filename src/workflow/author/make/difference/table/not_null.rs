//! NOT NULL, set and dropped.

use super::*;

impl Comparison<'_> {
    /// NOT NULL without a long lock: the rows that have none get a value in batches, a check says that none is left and is
    /// validated while others write, and then SET NOT NULL has nothing to read (PostgreSQL 12 and later).
    pub(super) fn fill_and_refuse_null(&mut self, column: &Column, value: Option<&str>, after: Option<usize>) {
        let mut last = after;
        if let Some(value) = value {
            let batched = self.around.batch_key.as_ref().map(|key| format!(" AND {key} > :from AND {key} <= :to"));
            let mode = if batched.is_some() { Mode::Batches } else { Mode::Together };
            let update = format!(
                "UPDATE {} SET {} = {value} WHERE {} IS NULL{}",
                self.want.path,
                column.quoted,
                column.quoted,
                batched.unwrap_or_default()
            );
            let mut operation = Operation::new(mode, vec![update], Vec::new()).titled(
                '~',
                format!("Fill {} of {}", column.name, self.want.name),
                format!("fill_{}_{}", self.around.short_name, column.name),
            );
            if after.is_none() {
                operation =
                    operation.irreversible(format!("which rows had none in {} is not known afterwards", column.name));
            }
            operation.batch_key = self.around.batch_key.as_ref().map(|key| format!("{}.{key}", self.want.path));
            let at = self.push(Stage::Other, Some(column), operation);
            self.steps[at].after = last;
            self.steps[at].is_aside = true;
            last = Some(at);
        }
        let name = quote_identifier(&shortened(&column.name, "_is_not_null"));
        let (set, unset) = ("SET NOT NULL", "DROP NOT NULL");
        let check = format!("ADD CONSTRAINT {name} CHECK ({} IS NOT NULL) NOT VALID", column.quoted);
        let drop = format!("DROP CONSTRAINT {name}");
        let (check, mut finish, back) = match &column.not_null_name {
            // Only from 18 on a NOT NULL constraint has a name of its own; then it can be validated itself.
            Some(name) => (
                format!("ADD CONSTRAINT {name} NOT NULL {} NOT VALID", column.quoted),
                Vec::new(),
                format!("DROP CONSTRAINT {name}"),
            ),
            None => (check.clone(), vec![format!("ALTER COLUMN {} {set}", column.quoted), drop.clone()], drop.clone()),
        };
        let validated = column.not_null_name.clone().unwrap_or_else(|| name.clone());
        let add = Operation::new(Mode::Together, vec![self.alter(&check)], vec![self.alter(&back)]);
        let add = self.titled_change(add, column);
        let at = self.push(Stage::Other, Some(column), add);
        self.steps[at].after = last;
        self.steps[at].is_aside = true;
        let validate = Operation::new(
            Mode::Validate,
            vec![self.alter(format!("VALIDATE CONSTRAINT {validated}"))],
            // A constraint cannot be made NOT VALID again, only anew; the step behind this one does that where there is one.
            if finish.is_empty() { vec![self.alter(&back), self.alter(&check)] } else { Vec::new() },
        );
        let validated = self.push(Stage::Other, Some(column), validate);
        self.steps[validated].after = Some(at);
        self.steps[validated].is_aside = true;
        if finish.is_empty() {
            return;
        }
        // In the transaction that validates: the lock of SET NOT NULL comes when everything was read.
        let up = finish.drain(..).map(|one| self.alter(one)).collect();
        let down = vec![self.alter(format!("ALTER COLUMN {} {unset}", column.quoted)), self.alter(&check)];
        let operation = self.titled_change(Operation::new(Mode::Validate, up, down), column);
        let at = self.push(Stage::Other, Some(column), operation);
        self.steps[at].after = Some(validated);
        self.steps[at].is_aside = true;
        self.steps[at].is_last = true;
    }

    pub(super) fn change_not_null(&mut self, have: &Column, want: &Column) {
        if want.inherited {
            return;
        }
        match (have.not_null, want.not_null) {
            (false, true) => {
                let value = self.around.values.get(&want.name).cloned();
                self.fill_and_refuse_null(want, value.as_deref(), None);
            }
            (true, false) => {
                let column = &want.quoted;
                let back = match &have.not_null_name {
                    Some(name) => format!("ADD CONSTRAINT {name} NOT NULL {column}"),
                    None => format!("ALTER COLUMN {column} SET NOT NULL"),
                };
                self.simple(Stage::Other, want, (format!("ALTER COLUMN {column} DROP NOT NULL"), back));
            }
            (true, true) if have.not_null_name != want.not_null_name => {
                let usual = quote_identifier(&format!("{}_{}_not_null", self.want.name, want.name));
                let name = |one: &Column| one.not_null_name.clone().unwrap_or_else(|| usual.clone());
                let rename = |from: &Column, to: &Column| format!("RENAME CONSTRAINT {} TO {}", name(from), name(to));
                self.simple(Stage::Other, want, (rename(have, want), rename(want, have)));
            }
            _ => {}
        }
    }
}

/// A name with an ending, of at most 63 bytes.
pub(in super::super) fn shortened(name: &str, ending: &str) -> String {
    let mut end = name.len().min(63 - ending.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &name[..end])
}
