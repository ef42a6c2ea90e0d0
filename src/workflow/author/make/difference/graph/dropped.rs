//! What is dropped, by itself or with something else, and what must go before it.

use super::*;

impl<'a> Builder<'a> {
    pub(super) fn drop_objects(&mut self) -> Result<(), Vec<Inexpressible>> {
        let mut impossible = Vec::new();
        for at in 0..self.have.objects.len() {
            let is_gone = matches!(self.fates.of[at], Fate::Drop | Fate::Replace);
            let in_both = |table: usize| self.fates.pair[table].is_some();
            if !is_gone || self.fates.is_done_by_table(self.have, at, in_both) {
                continue;
            }
            let object = &self.have.objects[at];
            if identity_of(object).is_some_and(|(column, _)| self.column_goes(at, &column)) {
                continue;
            }
            if object.kind() == "INDEX ATTACH" {
                // There is no way to take it back; it goes with one of its indexes.
                self.imply(at);
                continue;
            }
            if self.renewed.contains(&at) {
                // Its successor takes its place.
                let app = self.app_at(self.have, at);
                let node = self.add(app, Operation::new(Mode::Concurrently, Vec::new(), Vec::new()), (0, at));
                self.dropped.insert(at, node);
                continue;
            }
            let implied = self.goes_with(at);
            let up = match (&object.drop, implied.is_some()) {
                (_, true) => Vec::new(),
                (Some(drop), _) => vec![drop.clone()],
                (None, _) => match privileges::change(&object.statements, &[]) {
                    Some((up, _)) if matches!(object.kind(), "ACL" | "DEFAULT ACL") => up,
                    _ => {
                        impossible.push(Inexpressible {
                            key: object.key.clone(),
                            have: Some(object.text()),
                            want: None,
                            why: "there is no statement that drops it".to_owned(),
                        });
                        continue;
                    }
                },
            };
            let down = self.statements(self.have, at);
            let mut operation = Operation::new(Mode::Together, up, down);
            if object.kind() == "INDEX" && implied.is_none() && self.is_online(self.have, at) {
                operation.mode = Mode::Concurrently;
                operation.up =
                    operation.up.iter().map(|one| one.replacen("DROP INDEX ", "DROP INDEX CONCURRENTLY ", 1)).collect();
                operation.down = Ok(concurrently(&self.statements(self.have, at)));
                if self.promoted.contains_key(&at) {
                    operation.up.clear();
                }
            }
            if matches!(self.fates.of[at], Fate::Drop) && implied.is_none() {
                operation = self.titled(operation, self.have, at, '-');
            }
            let late = matches!(self.fates.of[at], Fate::Drop) && object.part_of.is_empty();
            let app = self.app_at(self.have, at);
            let node = self.add(app, operation, (if late { 6 } else { 0 }, at));
            self.dropped.insert(at, node);
            if let Some(owner) = implied {
                self.implied.push((at, owner));
            }
        }
        if impossible.is_empty() { Ok(()) } else { Err(impossible) }
    }

    pub(super) fn imply(&mut self, at: usize) {
        let operation = Operation::new(Mode::Together, Vec::new(), self.statements(self.have, at));
        let app = self.app_at(self.have, at);
        let node = self.add(app, operation, (0, at));
        self.dropped.insert(at, node);
    }

    /// Whether the column of an identity sequence is dropped with it.
    pub(super) fn column_goes(&self, at: usize, column: &str) -> bool {
        let Some(table) = self.have.relation_of(at) else { return false };
        let wanted = self.fates.pair[table].and_then(|pair| self.want.relation(pair));
        wanted.is_some_and(|one| one.column(column).is_none())
    }

    /// The object or table with which this one goes without a statement of its own.
    pub(super) fn goes_with(&self, at: usize) -> Option<usize> {
        let object = &self.have.objects[at];
        let is_gone = |one: &usize| matches!(self.fates.of[*one], Fate::Drop | Fate::Replace);
        let sequence_stays = |one: usize| {
            let sequence =
                self.have.objects[one].needs.iter().find(|need| self.have.objects[**need].kind() == "SEQUENCE");
            sequence.is_some_and(|sequence| !is_gone(sequence))
        };
        if object.kind() == "SEQUENCE OWNED BY" && sequence_stays(at) {
            return None;
        }
        if object.kind() == "SEQUENCE" {
            let owned = |one: &&usize| self.have.objects[**one].kind() == "SEQUENCE OWNED BY";
            let owner = self.have.users(at).iter().find(owned)?;
            let table = self.have.relation_of(*owner)?;
            return (is_gone(&table) || self.default_goes(at, table)).then_some(table);
        }
        if let Some(owner) = object.part_of.iter().copied().find(is_gone) {
            return Some(owner);
        }
        // With a column: only what is wanted no more.
        let table = self.have.relation_of(at).filter(|_| matches!(self.fates.of[at], Fate::Drop))?;
        // A constraint may be referred to, or refer to what goes too: it has a statement of its own.
        let kinds = ["INDEX", "STATISTICS", "SEQUENCE OWNED BY"];
        if !kinds.contains(&object.kind()) {
            return None;
        }
        self.uses_dropped_column(at, table).then_some(table)
    }

    pub(super) fn default_goes(&self, sequence: usize, table: usize) -> bool {
        self.have
            .users(sequence)
            .iter()
            .any(|user| self.have.objects[*user].kind() == "SEQUENCE OWNED BY" && self.owned_column_goes(*user, table))
    }

    pub(super) fn owned_column_goes(&self, owned_by: usize, table: usize) -> bool {
        let statement = self.have.objects[owned_by].statements.first().cloned().unwrap_or_default();
        self.dropped_columns(table).iter().any(|column| statement.ends_with(&format!(".{column}")))
    }

    /// Quoted columns of a table that stays which are dropped.
    pub(super) fn dropped_columns(&self, table: usize) -> Vec<String> {
        let wanted = self.fates.pair[table].and_then(|pair| self.want.relation(pair));
        let (Some(had), Some(wanted)) = (self.have.relation(table), wanted) else { return Vec::new() };
        let gone = had.columns.iter().filter(|one| wanted.column(&one.quoted).is_none());
        gone.map(|one| one.quoted.clone()).collect()
    }

    pub(super) fn uses_dropped_column(&self, at: usize, table: usize) -> bool {
        if self.have.objects[at].kind() == "SEQUENCE OWNED BY" {
            return self.owned_column_goes(at, table);
        }
        let Some(had) = self.have.relation(table) else { return false };
        let gone = self.dropped_columns(table);
        let columns = had.columns.iter().filter(|one| gone.contains(&one.quoted));
        columns.into_iter().any(|one| self.uses_column(at, had.oid, one.number))
    }

    pub(super) fn connect_drops(&mut self) {
        for at in 0..self.have.objects.len() {
            let own: Vec<NodeIndex> = match &self.fates.of[at] {
                Fate::NewLabels => self.altered.get(&at).cloned().unwrap_or_default(),
                _ => self.dropped.get(&at).map(|one| vec![*one]).unwrap_or_default(),
            };
            let is_table = self.tables.contains_key(&at);
            if own.is_empty() && !is_table {
                continue;
            }
            for user in self.have.users(at).to_vec() {
                // A default of a table in both is a step of the table.
                let user = match self.have.relation_of(user) {
                    Some(table) if self.have.objects[user].kind() == "DEFAULT" && self.tables.contains_key(&table) => {
                        table
                    }
                    _ => user,
                };
                let mut before: Vec<NodeIndex> = self.dropped.get(&user).into_iter().copied().collect();
                if matches!(self.fates.of[at], Fate::Drop) {
                    before.extend(self.altered.get(&user).into_iter().flatten());
                    before.extend(self.table_nodes(user, |_| true));
                } else {
                    before.extend(self.table_nodes(user, |one| one.stage == Stage::Early));
                    if matches!(self.fates.of[at], Fate::NewLabels) {
                        let end: Vec<NodeIndex> = own.iter().skip(1).copied().collect();
                        let leaving = self.leaving(user, at);
                        self.all(&leaving, &end);
                    }
                }
                self.all(&before, &own);
            }
            if is_table {
                self.connect_users_of_columns(at);
            }
        }
    }

    /// Steps of a table by which a column leaves a type.
    pub(super) fn leaving(&self, table: usize, of_type: usize) -> Vec<NodeIndex> {
        let oid = self.have.objects[of_type].address.1;
        let Some(had) = self.have.relation(table) else { return Vec::new() };
        let columns: Vec<&String> =
            had.columns.iter().filter(|one| one.type_oid == oid).map(|one| &one.quoted).collect();
        self.table_nodes(table, |one| {
            matches!(one.stage, Stage::Type | Stage::Late) && one.columns.iter().any(|one| columns.contains(&one))
        })
    }

    /// What uses a column goes before the column does, or before its type changes.
    pub(super) fn connect_users_of_columns(&mut self, table: usize) {
        let Some(had) = self.have.relation(table) else { return };
        let (oid, numbers) =
            (had.oid, had.columns.iter().map(|one| (one.quoted.clone(), one.number)).collect::<BTreeMap<_, _>>());
        let nodes: Vec<(NodeIndex, Stage, Vec<String>)> =
            self.tables[&table].iter().map(|one| (one.node, one.step.stage, one.step.columns.clone())).collect();
        let mut users: BTreeSet<usize> = self.have.users(table).iter().copied().collect();
        users.extend((0..self.have.objects.len()).filter(|one| self.have.objects[*one].part_of.contains(&table)));
        for user in users {
            let kind = self.have.objects[user].kind();
            if kind == "SEQUENCE" {
                self.connect_identity(user, &nodes);
                continue;
            }
            let gone: Vec<NodeIndex> = self.dropped.get(&user).into_iter().copied().collect();
            let altered: Vec<NodeIndex> = self.altered.get(&user).into_iter().flatten().copied().collect();
            let by_column = matches!(
                kind,
                "INDEX" | "CONSTRAINT" | "FK CONSTRAINT" | "STATISTICS" | "TRIGGER" | "POLICY" | "SEQUENCE OWNED BY"
            );
            for (node, stage, columns) in &nodes {
                let own: Vec<i16> = columns.iter().filter_map(|one| numbers.get(one)).copied().collect();
                let is_used = |number: &i16| self.uses_column(user, oid, *number);
                let whole = !by_column || kind == "SEQUENCE OWNED BY";
                let used = !own.is_empty() && (whole || own.iter().any(is_used));
                if used && !matches!(stage, Stage::Add | Stage::Check) {
                    self.all(&gone, &[*node]);
                    if *stage == Stage::Late {
                        self.all(&altered, &[*node]);
                    }
                }
            }
            // The sequence of a dropped column goes with it; on the way back it comes first.
            if kind == "SEQUENCE OWNED BY" {
                let sequences = self.have.objects[user].needs.clone();
                for sequence in sequences.into_iter().filter(|one| self.have.objects[*one].kind() == "SEQUENCE") {
                    let late = self.table_nodes(table, |one| one.stage == Stage::Late && !one.columns.is_empty());
                    if let Some(node) = self.dropped.get(&sequence).copied() {
                        self.all(&late, &[node]);
                    }
                }
            }
        }
    }

    /// An identity goes before anything is done to its column.
    fn connect_identity(&mut self, sequence: usize, nodes: &[(NodeIndex, Stage, Vec<String>)]) {
        let Some(own) = self.dropped.get(&sequence).copied() else { return };
        let Some((column, _)) = identity_of(&self.have.objects[sequence]) else { return };
        for (node, _, _) in nodes.iter().filter(|(_, _, one)| one.contains(&column)) {
            self.edge(own, *node);
        }
    }

    /// A routine that is dropped is gone before what called it is made again: a call that fits both would be refused.
    pub(super) fn connect_calls(&mut self) {
        for at in 0..self.have.objects.len() {
            let is_routine = matches!(self.have.objects[at].kind(), "FUNCTION" | "PROCEDURE" | "AGGREGATE");
            let Some(gone) = self.dropped.get(&at).copied().filter(|_| is_routine) else { continue };
            for user in self.have.users(at).to_vec() {
                let again = self.fates.pair[user].filter(|_| matches!(self.fates.of[user], Fate::Replace));
                let made = again.and_then(|pair| self.made.get(&pair)).cloned().unwrap_or_default();
                self.all(&[gone], &made);
            }
        }
    }

    /// A drop that happens with another one must come before the drops of what it needs. Where that goes round in a circle
    /// (two tables that refer to each other) it gets a statement of its own.
    pub(super) fn connect_implied(&mut self) {
        for (at, owner) in self.implied.clone() {
            let Some(own) = self.dropped.get(&owner).copied() else { continue };
            for need in self.have.objects[at].needs.clone() {
                let Some(needed) = self.dropped.get(&need).copied().filter(|one| *one != own) else { continue };
                let together = self.implied.contains(&(need, owner));
                if together || self.have.objects[at].part_of.contains(&need) {
                    continue;
                }
                if has_path_connecting(&self.graph, needed, own, None) {
                    let node = self.dropped[&at];
                    let drop = self.have.objects[at].drop.clone();
                    self.graph[node].operation.up = drop.into_iter().collect();
                    break;
                }
                self.edge(own, needed);
            }
            self.connect_implied_to_columns(at, own);
        }
    }

    /// The same of the columns that it uses in tables that stay.
    pub(super) fn connect_implied_to_columns(&mut self, at: usize, own: NodeIndex) {
        for table in self.have.objects[at].needs.clone() {
            let (Some(relation), Some(nodes)) = (self.have.relation(table), self.tables.get(&table)) else { continue };
            let uses = |step: &TableStep| {
                let mut columns = step.columns.iter().filter_map(|one| relation.column(one));
                matches!(step.stage, Stage::Type | Stage::Late)
                    && columns.any(|one| self.uses_column(at, relation.oid, one.number))
            };
            let found: Vec<NodeIndex> = nodes.iter().filter(|one| uses(&one.step)).map(|one| one.node).collect();
            for node in found {
                if has_path_connecting(&self.graph, node, own, None) {
                    let dropped = self.dropped[&at];
                    self.graph[dropped].operation.up = self.have.objects[at].drop.clone().into_iter().collect();
                } else {
                    self.edge(own, node);
                }
            }
        }
    }
}
