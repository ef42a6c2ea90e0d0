//! What is made, and what must be there before it.

use super::*;

impl<'a> Builder<'a> {
    /// The statements that make an object, as a migration has them.
    pub(super) fn statements(&self, model: &Model, at: usize) -> Vec<String> {
        let object = &model.objects[at];
        // A view that needs a primary key is in an archive as a stand-in, and as a rule that comes later; the rule's text
        // makes the view by itself.
        if let Some(rule) = view_rule(model, at) {
            return model.objects[rule]
                .statements
                .iter()
                .map(|one| one.replacen("CREATE OR REPLACE VIEW", "CREATE VIEW", 1))
                .collect();
        }
        if object.kind() == "RULE" && object.name().ends_with(" _RETURN") {
            return Vec::new();
        }
        let mut statements = object.statements.clone();
        // Of a table that stays this is a step of its own.
        let stays = model.relation_of(at).is_some_and(|one| match std::ptr::eq(model, self.have) {
            true => matches!(self.fates.of[one], Fate::Keep | Fate::Alter(_)),
            false => self.stays(one),
        });
        if !stays {
            statements.extend(object.of_table.iter().cloned());
        }
        statements.extend(self.continued(model, at));
        if object.kind() == "MATERIALIZED VIEW" {
            let name = (object.key.1.clone(), object.name().to_owned());
            // A dump leaves them empty; whether rows are wished for, the database knows.
            if self.terms.populated.contains(&name) || std::ptr::eq(model, self.have) {
                for one in &mut statements {
                    if let Some(head) = one.strip_suffix("WITH NO DATA") {
                        *one = head.trim_end().to_owned();
                    }
                }
            }
        }
        statements
    }

    /// A new sequence of a column that is there must go on behind its values.
    pub(super) fn continued(&self, model: &Model, at: usize) -> Option<String> {
        let object = &model.objects[at];
        let table = model.relation(model.relation_of(at)?)?;
        let (sequence, column) = counted_column(model, object)?;
        let whole = ["bigint", "integer", "smallint"].contains(&table.column(column)?.data_type.as_str());
        let is_there = |model: &Model| {
            let same = model.definitions.relations.values().find(|one| one.path == table.path && one.is_table());
            same.is_some_and(|one| one.column(column).is_some())
        };
        (whole && is_there(self.have) && is_there(self.want)).then(|| {
            let name = crate::postgres::quote_literal(sequence);
            format!(
                "SELECT pg_catalog.setval({}, max({column})) FROM {} HAVING max({column}) > 0",
                name.trim_start(),
                table.path
            )
        })
    }

    pub(super) fn make_objects(&mut self) {
        for at in 0..self.want.objects.len() {
            let was = self.fates.was[at];
            let is_new = was.is_none_or(|was| matches!(self.fates.of[was], Fate::Replace));
            let in_both = |table: usize| self.fates.was[table].is_some();
            if !is_new || self.fates.is_done_by_table(self.want, at, in_both) {
                continue;
            }
            let object = &self.want.objects[at];
            let new_column = identity_of(object).is_some_and(|(column, _)| {
                let table = self.want.relation_of(at);
                let had = table.and_then(|table| self.fates.was[table]).and_then(|was| self.have.relation(was));
                had.is_some_and(|one| one.column(&column).is_none())
            });
            if new_column || (object.kind() == "COMMENT" && self.is_of_new_extension(at)) {
                continue;
            }
            let operations = self.operations_to_make(at);
            let app = self.app_at(self.want, at);
            let rank = match object.kind() {
                "SCHEMA" | "EXTENSION" | "TYPE" | "DOMAIN" | "SEQUENCE" | "TABLE" | "FOREIGN TABLE" => 1,
                "FUNCTION" | "PROCEDURE" | "AGGREGATE" => 3,
                _ => 4,
            };
            let nodes: Vec<NodeIndex> =
                operations.into_iter().map(|operation| self.add(app.clone(), operation, (rank, at))).collect();
            self.chain(&nodes);
            self.made.insert(at, nodes);
        }
    }

    pub(super) fn is_of_new_extension(&self, at: usize) -> bool {
        let of = self.want.objects[at].part_of.iter();
        of.into_iter().any(|one| self.want.objects[*one].kind() == "EXTENSION" && self.fates.was[*one].is_none())
    }

    /// Whether what it is a part of is made in the same difference.
    pub(super) fn goes_with_new(&self, at: usize) -> bool {
        let is_new = |one: &usize| self.fates.was[*one].is_none_or(|was| matches!(self.fates.of[was], Fate::Replace));
        if self.want.objects[at].kind() == "SEQUENCE" && identity_of(&self.want.objects[at]).is_none() {
            let owned = |one: &&usize| self.want.objects[**one].kind() == "SEQUENCE OWNED BY";
            let owner = self.want.users(at).iter().find(owned).and_then(|one| self.want.relation_of(*one));
            return owner.is_some_and(|one| is_new(&one));
        }
        let object = &self.want.objects[at];
        if object.kind() == "SEQUENCE OWNED BY" {
            // To say that nobody owns it would leave the sequence behind when the table goes.
            let sequence = object.needs.iter().copied().find(|one| self.want.objects[*one].kind() == "SEQUENCE");
            return sequence.is_some_and(|one| is_new(&one) && self.goes_with_new(one));
        }
        if object.kind() == "RULE" && object.name().ends_with(" _RETURN") {
            return object.part_of.iter().any(is_new);
        }
        // What else it needs may be dropped before the owner is.
        let needs_more = |one: &usize| is_new(one) && !object.part_of.contains(one);
        object.part_of.iter().any(is_new) && !object.needs.iter().any(needs_more)
    }

    /// A new partition of a table that is there is made like it: an expression that was printed and read again would not
    /// be the parent's.
    pub(super) fn like_parent(&self, at: usize) -> Option<Vec<String>> {
        // What else is of the table, such as its row-level security, has the same address.
        let is_itself = is_table(self.want.objects[at].kind());
        let own = self.want.relation(at).filter(|one| is_itself && one.is_partition)?;
        let parent = self.want.definitions.relations.values().find(|one| own.parents.contains(&one.path))?;
        self.want.at((RELATION, parent.oid)).filter(|at| self.stays(*at))?;
        let same = own.columns.len() == parent.columns.len()
            && own.columns.iter().all(|one| {
                parent.column(&one.quoted).is_some_and(|other| {
                    (&one.data_type, &one.default, one.generated) == (&other.data_type, &other.default, other.generated)
                })
            });
        let statements = &self.want.objects[at].statements;
        let first = statements.first().filter(|_| same)?;
        let tail = first.rfind("\n)\nPARTITION BY ").map(|at| &first[at + 2..]).unwrap_or_default();
        let mut made = vec![format!(
            "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE){tail}",
            own.path, parent.path
        )];
        made.extend(statements.iter().skip(1).cloned());
        Some(made)
    }

    /// Whether an index is made for a partitioned table that is there.
    pub(super) fn is_new_on_table(&self, at: usize) -> bool {
        let is_made = self.fates.was[at].is_none_or(|was| matches!(self.fates.of[was], Fate::Replace));
        let table = self.want.relation_of(at).filter(|_| is_made);
        table.is_some_and(|one| self.stays(one) && self.want.relation(one).is_some_and(|one| one.kind == 'p'))
    }

    pub(super) fn operations_to_make(&self, at: usize) -> Vec<Operation> {
        let object = &self.want.objects[at];
        let was = self.fates.was[at];
        let mut up = self.like_parent(at).unwrap_or_else(|| self.statements(self.want, at));
        up.extend(self.unwanted_default_privileges(at));
        let down = match (&object.drop, object.kind()) {
            // It goes with what it is a part of. Tables that refer to each other are taken apart first.
            (_, kind) if kind != "FK CONSTRAINT" && self.goes_with_new(at) => Vec::new(),
            (Some(drop), _) => vec![drop.clone()],
            (None, "ACL" | "DEFAULT ACL") => {
                privileges::change(&object.statements, &[]).map(|(up, _)| up).unwrap_or_default()
            }
            // Goes with its index.
            _ => Vec::new(),
        };
        let title = |operation| self.titled(operation, self.want, at, if was.is_some() { '~' } else { '+' });
        // The index of a partitioned table: on the table alone, then on each partition while others write, then attached.
        let relation = self.want.relation_of(at);
        let partitioned = relation.and_then(|one| self.want.relation(one)).is_some_and(|one| one.kind == 'p');
        if self.terms.online
            && relation.is_some_and(|one| self.stays(one))
            && partitioned
            && matches!(object.kind(), "INDEX" | "CONSTRAINT")
        {
            return vec![title(Operation::new(Mode::Concurrently, up, down))];
        }
        if object.kind() == "INDEX ATTACH" {
            let online = self.terms.online && object.needs.iter().any(|one| self.is_new_on_table(*one));
            let mode = if online { Mode::Concurrently } else { Mode::Together };
            return vec![Operation::new(mode, up, Vec::new())];
        }
        if let Some(operation) = self.renewing(at) {
            return vec![title(operation)];
        }
        let follows = self.want.parent_index(at).is_some_and(|one| self.is_new_on_table(one));
        if self.terms.online && follows && !relation.is_some_and(|one| self.stays(one)) {
            // Of a partition that is new, but it goes with an index that is made later.
            return vec![title(Operation::new(Mode::Concurrently, up, down))];
        }
        let online = self.is_online(self.want, at);
        match object.kind() {
            "INDEX" if online => {
                let back = down.iter().map(|one| one.replacen("DROP INDEX ", "DROP INDEX CONCURRENTLY ", 1)).collect();
                vec![title(Operation::new(Mode::Concurrently, concurrently(&up), back))]
            }
            "CONSTRAINT" if online => match self.by_index(self.want, at) {
                // Dropping the constraint drops the index, so both are one step.
                Some((index, constraint)) => {
                    vec![title(Operation::new(Mode::Concurrently, vec![index, constraint], down))]
                }
                None => vec![title(Operation::new(Mode::Together, up, down))],
            },
            "FK CONSTRAINT" => {
                let table = self.want.relation_of(at);
                let stays = table.is_some_and(|one| self.stays(one));
                let partitioned = table.and_then(|one| self.want.relation(one)).is_some_and(|one| one.kind == 'p');
                let only = up.len() == 1 && !up[0].ends_with(" NOT VALID");
                // NOT VALID foreign keys on a partitioned table came with 18.
                if !self.terms.online || !stays || !only || (partitioned && self.terms.major < 18) {
                    return vec![title(Operation::new(
                        Mode::Together,
                        up.iter().map(|one| self.for_partitions(one, partitioned)).collect(),
                        down,
                    ))];
                }
                let add = format!("{} NOT VALID", self.for_partitions(&up[0], partitioned));
                let validate = down.first().map(|one| one.replacen(" DROP CONSTRAINT ", " VALIDATE CONSTRAINT ", 1));
                let back: Vec<String> = down.iter().cloned().chain([add.clone()]).collect();
                vec![
                    title(Operation::new(Mode::Together, vec![add], down)),
                    // A constraint cannot be made NOT VALID again, only anew.
                    Operation::new(Mode::Validate, validate.into_iter().collect(), back),
                ]
            }
            _ => vec![title(Operation::new(Mode::Together, up, down))],
        }
    }

    /// A foreign key of a partitioned table holds for its partitions.
    pub(super) fn for_partitions(&self, statement: &str, partitioned: bool) -> String {
        if partitioned { without_only(statement) } else { statement.to_owned() }
    }

    /// A unique constraint or primary key as an index that is built while others write, and a constraint that takes it.
    pub(super) fn by_index(&self, model: &Model, at: usize) -> Option<(String, String)> {
        let object = &model.objects[at];
        let index = model.definitions.constraint_indexes.get(&object.address.1)?;
        let words = match index.kind {
            'p' => "PRIMARY KEY",
            'u' => "UNIQUE",
            _ => return None,
        };
        let [statement] = object.statements.as_slice() else { return None };
        if index.period {
            return None;
        }
        let create = index.definition.replacen(" INDEX ", " INDEX CONCURRENTLY ", 1);
        let (head, rest) = statement.split_once("ADD CONSTRAINT ")?;
        let end = rest.find(&format!(" {words}"))?;
        let name = &rest[..end];
        let constraint =
            format!("{}ADD CONSTRAINT {name} {words} USING INDEX {name}{}", without_only(head), index.deferrable);
        Some((create, constraint))
    }

    /// Whether an index or constraint is on a table that is there before and after, so that others wait for it.
    pub(super) fn is_online(&self, model: &Model, at: usize) -> bool {
        if !self.terms.online {
            return false;
        }
        let Some(relation) = model.relation_of(at) else { return false };
        let stays = match std::ptr::eq(model, self.have) {
            true => matches!(self.fates.of[relation], Fate::Keep | Fate::Alter(_)),
            false => {
                self.fates.was[relation].is_some_and(|was| matches!(self.fates.of[was], Fate::Keep | Fate::Alter(_)))
            }
        };
        let partitioned = model.relation(relation).is_some_and(|one| one.kind == 'p');
        stays && !partitioned
    }

    pub(super) fn uses(&mut self, needs: &BTreeSet<usize>, nodes: &[NodeIndex]) {
        let apps: Vec<String> = needs
            .iter()
            .filter(|one| self.fates.was[**one].is_some())
            .map(|one| self.app_at(self.want, *one))
            .collect();
        for node in nodes {
            let own = self.graph[*node].app.clone();
            self.graph[*node].uses.extend(apps.iter().filter(|one| **one != own).cloned());
        }
    }

    /// The steps after which a wished object can be used.
    pub(super) fn ready(&self, want_at: usize) -> Vec<NodeIndex> {
        let mut found: Vec<NodeIndex> = self.made.get(&want_at).into_iter().flatten().copied().collect();
        // Of a foreign key or a check the validation comes later; nobody waits for it.
        if self.want.objects[want_at].kind() == "FK CONSTRAINT" {
            found.truncate(1);
        }
        if let Some(was) = self.fates.was[want_at] {
            // The new type is there although columns of the old one are left.
            let steps = if matches!(self.fates.of[was], Fate::NewLabels) { 1 } else { usize::MAX };
            found.extend(self.altered.get(&was).into_iter().flatten().take(steps));
            found.extend(self.table_nodes(was, |one| !one.is_aside && one.stage != Stage::Late));
            // Columns of a partition are made with those of its parent.
            found.extend(self.parents(want_at).into_iter().flat_map(|one| self.ready(one)));
        }
        found
    }

    /// The tables that a wished table is a partition of or inherits from.
    fn parents(&self, want_at: usize) -> Vec<usize> {
        if !is_table(self.want.objects[want_at].kind()) {
            return Vec::new();
        }
        let Some(own) = self.want.relation(want_at) else { return Vec::new() };
        let relations = self.want.definitions.relations.values().filter(|one| own.parents.contains(&one.path));
        relations.filter_map(|one| self.want.at((RELATION, one.oid))).collect()
    }

    pub(super) fn connect_made(&mut self) {
        let first: Vec<NodeIndex> = self
            .made
            .iter()
            .filter(|(at, _)| matches!(self.want.objects[**at].kind(), "EXTENSION" | "SCHEMA"))
            .flat_map(|(_, nodes)| nodes.clone())
            .collect();
        let plain: Vec<NodeIndex> = self
            .made
            .iter()
            .filter(|(at, _)| {
                let kind = self.want.objects[**at].kind();
                !matches!(kind, "DEFAULT ACL" | "EVENT TRIGGER") && !kind.starts_with("PUBLICATION")
            })
            .flat_map(|(_, nodes)| nodes.clone())
            .collect();
        for at in 0..self.want.objects.len() {
            let kind = self.want.objects[at].kind().to_owned();
            let was = self.fates.was[at];
            let mut own = self.made.get(&at).cloned().unwrap_or_default();
            own.extend(was.and_then(|was| self.altered.get(&was)).into_iter().flatten());
            if own.is_empty() {
                continue;
            }
            let mut needs: BTreeSet<usize> = self.want.objects[at].needs.iter().copied().collect();
            if let Some(rule) = view_rule(self.want, at) {
                needs.extend(self.want.objects[rule].needs.iter().copied().filter(|one| *one != at));
            }
            for need in &needs {
                // An owned sequence is there before its column's default.
                if kind == "SEQUENCE"
                    && is_relation(self.want.objects[*need].kind())
                    && identity_of(&self.want.objects[at]).is_none()
                {
                    continue;
                }
                let ready = self.ready(*need);
                self.all(&ready, &own);
            }
            self.uses(&needs, &own);
            if let Some(node) = was.and_then(|was| self.dropped.get(&was)).copied() {
                self.all(&[node], &own);
            }
            match kind.as_str() {
                "EXTENSION" | "SCHEMA" => {}
                // These hold for what is made later, or for everything.
                "DEFAULT ACL" | "EVENT TRIGGER" | "PUBLICATION" => self.all(&plain, &own),
                _ => self.all(&first, &own),
            }
            self.connect_counted(at, &own);
            if kind == "CONSTRAINT" {
                // A primary key reads the table for NOT NULL unless that is set.
                let aside: Vec<NodeIndex> = self
                    .want
                    .relation_of(at)
                    .and_then(|table| self.fates.was[table])
                    .map(|was| self.table_nodes(was, |one| one.is_aside && one.stage == Stage::Other))
                    .unwrap_or_default();
                self.all(&aside, &own);
            }
            self.connect_partition(at, &kind, &own);
            self.connect_names(at, &own);
        }
    }

    /// A sequence belongs to its column, and goes on behind its values, when the column is what it shall be.
    fn connect_counted(&mut self, at: usize, own: &[NodeIndex]) {
        let Some((_, column)) = counted_column(self.want, &self.want.objects[at]) else { return };
        let column = column.to_owned();
        for table in self.want.objects[at].part_of.clone() {
            let is_column = |one: &TableStep| one.stage != Stage::Late && one.columns.contains(&column);
            let mut before = self.made.get(&table).cloned().unwrap_or_default();
            before.extend(self.fates.was[table].map(|was| self.table_nodes(was, is_column)).unwrap_or_default());
            self.all(&before, own);
        }
    }

    /// A new partition gets its indexes before it is attached: then none are built for it under the parent's lock.
    pub(super) fn connect_partition(&mut self, at: usize, kind: &str, own: &[NodeIndex]) {
        if kind == "TABLE ATTACH" {
            // A check that is there for a while only would be missing in the partition.
            let parents = self.want.objects[at].part_of.iter().filter_map(|one| self.fates.was[*one]);
            let aside: Vec<NodeIndex> = parents.flat_map(|was| self.table_nodes(was, |one| one.is_aside)).collect();
            self.all(own, &aside);
            let parts: Vec<usize> = self.want.objects[at].part_of.iter().copied().collect();
            let child = parts.into_iter().find(|one| self.want.objects[*one].name() == self.want.objects[at].name());
            let Some(child) = child else { return };
            let of_child: Vec<usize> = self.want.users(child).to_vec();
            for user in of_child {
                let is_index = matches!(self.want.objects[user].kind(), "INDEX" | "CONSTRAINT");
                let later = self.want.parent_index(user).is_some_and(|one| self.is_new_on_table(one));
                if is_index && !later && self.want.relation_of(user) == Some(child) {
                    let made = self.ready(user);
                    self.all(&made, own);
                }
            }
        }
        if kind == "INDEX ATTACH" {
            let tables: Vec<usize> =
                self.want.objects[at].needs.iter().filter_map(|one| self.want.relation_of(*one)).collect();
            let attached: Vec<usize> = tables
                .iter()
                .flat_map(|table| self.want.users(*table).iter().map(move |one| (*table, *one)))
                .filter(|(table, one)| {
                    let (attach, table) = (&self.want.objects[*one], &self.want.objects[*table]);
                    attach.kind() == "TABLE ATTACH" && attach.name() == table.name()
                })
                .map(|(_, one)| one)
                .collect();
            for one in attached {
                let made = self.made.get(&one).cloned().unwrap_or_default();
                self.all(&made, own);
            }
        }
    }

    /// A name must be free before something else takes it.
    pub(super) fn connect_names(&mut self, at: usize, own: &[NodeIndex]) {
        let wanted = &self.want.objects[at];
        let name = |object: &Object| {
            let last = match object.kind() {
                "CONSTRAINT" => object.name().rsplit(' ').next().unwrap_or_default().to_owned(),
                _ => object.name().to_owned(),
            };
            (object.key.1.clone(), last)
        };
        let takes = |object: &Object| {
            matches!(
                object.kind(),
                "TABLE"
                    | "FOREIGN TABLE"
                    | "VIEW"
                    | "MATERIALIZED VIEW"
                    | "SEQUENCE"
                    | "INDEX"
                    | "CONSTRAINT"
                    | "TYPE"
                    | "DOMAIN"
            ) || object.kind() == "FK CONSTRAINT"
        };
        if !takes(wanted) {
            return;
        }
        let taken: Vec<NodeIndex> = self
            .dropped
            .iter()
            .filter(|(have_at, _)| {
                takes(&self.have.objects[**have_at]) && name(&self.have.objects[**have_at]) == name(wanted)
            })
            .map(|(_, node)| *node)
            .collect();
        self.all(&taken, own);
    }
}

/// The rule of a view that is in an archive as a stand-in.
fn view_rule(model: &Model, at: usize) -> Option<usize> {
    let is_view = model.objects[at].kind() == "VIEW";
    let is_rule =
        |one: &usize| model.objects[*one].kind() == "RULE" && model.objects[*one].name().ends_with(" _RETURN");
    model.users(at).iter().copied().find(is_rule).filter(|_| is_view)
}
