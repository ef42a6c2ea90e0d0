//! What changes in place, and what each step is called.

use super::*;

impl<'a> Builder<'a> {
    pub(super) fn alter_objects(&mut self) {
        for at in 0..self.have.objects.len() {
            let app = self.app_at(self.have, at);
            let steps = match &self.fates.of[at] {
                Fate::Alter(steps) => steps.clone(),
                Fate::NewLabels => self.relabel(at),
                _ => continue,
            };
            let mut nodes = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                let step = match (&step.title, number) {
                    (None, 0) => self.titled(step, self.have, at, '~'),
                    _ => step,
                };
                let is_end = number > 0 && matches!(self.fates.of[at], Fate::NewLabels);
                nodes.push(self.add(app.clone(), step, (if is_end { 6 } else { 2 }, at)));
            }
            self.chain(&nodes);
            self.altered.insert(at, nodes);
        }
    }

    /// A new type takes the old one's name and its columns, value by value of the same label; when no column is left, the
    /// old one goes.
    pub(super) fn relabel(&self, at: usize) -> Vec<Operation> {
        let direction = |from: (&Model, usize), to: (&Model, usize)| {
            let name = type_name(&from.0.objects[from.1]);
            let (schema, plain) = name.rsplit_once('.').unwrap_or(("", &name));
            let old = crate::postgres::quote_identifier(&format!("{}_old", plain.trim_matches('"')));
            let mut up = vec![format!("ALTER TYPE {name} RENAME TO {old}")];
            up.extend(to.0.objects[to.1].statements.iter().cloned());
            let oid = from.0.objects[from.1].address.1;
            for table in from.0.definitions.relations.values().filter(|one| one.is_table()) {
                for column in table.columns.iter().filter(|one| one.type_oid == oid && !one.inherited) {
                    let pair = to.0.definitions.relations.values().find(|one| one.path == table.path);
                    let Some(other) = pair.and_then(|one| one.column(&column.quoted)) else { continue };
                    if other.data_type != column.data_type || column.generated != ' ' || table.is_partition {
                        continue;
                    }
                    let quoted = &column.quoted;
                    let mut parts = Vec::new();
                    let array = if column.is_array { "[]" } else { "" };
                    if column.default.is_some() {
                        parts.push(format!("ALTER COLUMN {quoted} DROP DEFAULT"));
                    }
                    parts.push(format!(
                        "ALTER COLUMN {quoted} TYPE {} USING {quoted}::text{array}::{}",
                        column.data_type, column.data_type
                    ));
                    if let (Some(_), Some(default)) = (&column.default, &other.default) {
                        parts.push(format!("ALTER COLUMN {quoted} SET DEFAULT {default}"));
                    }
                    up.push(format!("ALTER TABLE {} {}", table.path, parts.join(", ")));
                }
            }
            (up, format!("DROP TYPE {schema}.{old}"))
        };
        let Some(pair) = self.fates.pair[at] else { return Vec::new() };
        let ((up, drop), (mut down, drop_again)) =
            (direction((self.have, at), (self.want, pair)), direction((self.want, pair), (self.have, at)));
        down.push(drop_again);
        let name = self.have.objects[at].name().to_owned();
        let first = Operation::new(Mode::Together, up, down);
        let first = first.titled('~', format!("Replace type {name}"), format!("{name}_values"));
        vec![first, Operation::new(Mode::Together, vec![drop], Vec::new())]
    }

    pub(super) fn titled(&self, operation: Operation, model: &Model, at: usize, sign: char) -> Operation {
        let object = &model.objects[at];
        if operation.title.is_some() || matches!(object.kind(), "INDEX ATTACH" | "SEQUENCE OWNED BY") {
            return operation;
        }
        let app = self.app_at(model, at);
        // What belongs to a table that is made or dropped is not told of itself.
        let whole = |one: &usize| match std::ptr::eq(model, self.have) {
            true => matches!(self.fates.of[*one], Fate::Drop | Fate::Replace),
            false => !self.stays(*one),
        };
        if object.part_of.iter().any(whole) {
            return operation;
        }
        let verb = match sign {
            '+' => "Create",
            '-' => "Drop",
            _ => "Change",
        };
        let what = object.kind().to_lowercase();
        // Of what stands on a table the archive's name is the table's and its own.
        let on = || {
            let relation = model.relation_of(at).map(|one| model.objects[one].name());
            let own = relation.and_then(|one| object.name().strip_prefix(one)).map_or(object.name(), str::trim_start);
            (own.to_owned(), relation.unwrap_or_default().to_owned())
        };
        let text = match object.kind() {
            "CONSTRAINT" | "FK CONSTRAINT" | "CHECK CONSTRAINT" => {
                let what = if object.kind() == "FK CONSTRAINT" { "foreign key" } else { "constraint" };
                let (own, table) = on();
                match sign {
                    '+' => format!("Add {what} {own} to {table}"),
                    '-' => format!("Drop {what} {own} from {table}"),
                    _ => format!("Change {what} {own} of {table}"),
                }
            }
            "TRIGGER" | "POLICY" | "RULE" => {
                let (own, table) = on();
                format!("{verb} {what} {own} on {table}")
            }
            "ROW SECURITY" => {
                format!("{} row-level security of {}", if sign == '-' { "Disable" } else { "Enable" }, object.name())
            }
            "ACL" => format!("{verb} privileges of {}", object.name().to_lowercase()),
            "COMMENT" => format!("{verb} comment on {}", object.name().to_lowercase()),
            _ => format!("{verb} {what} {}", object.name()),
        };
        let name = short_name(object.name().rsplit(' ').next().unwrap_or_default(), &app);
        let words = match (sign, object.kind()) {
            ('-', _) => format!("drop_{name}"),
            ('+', "TABLE") => name,
            ('+', _) => format!("add_{name}"),
            _ => format!("change_{name}"),
        };
        operation.titled(sign, text, words)
    }
}
