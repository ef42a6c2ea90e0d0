//! The steps of tables that are in both schemas, column by column.

use super::*;

impl<'a> Builder<'a> {
    pub(super) fn compare_tables(&mut self) {
        // Parents first: what is done for a parent is done for its children.
        let mut signatures: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut left: Vec<usize> = (0..self.have.objects.len())
            .filter(|at| is_table(self.have.objects[*at].kind()) && self.fates.pair[*at].is_some())
            .collect();
        let (have, want) = (self.have, self.want);
        left.sort_by_key(|at| (self.depth(*at), *at));
        for at in left {
            let Some(pair) = self.fates.pair[at] else { continue };
            let (Some(had), Some(wanted)) = (have.relation(at), want.relation(pair)) else { continue };
            let around = self.around(at, pair, had, wanted);
            let mut steps = Comparison::new(had, wanted, &around).steps();
            let own: BTreeSet<String> = steps.iter().map(|one| one.signature(&wanted.path)).collect();
            let of_parents: BTreeSet<&String> =
                wanted.parents.iter().filter_map(|one| signatures.get(one)).flatten().collect();
            let kept: Vec<bool> = steps.iter().map(|one| !of_parents.contains(&one.signature(&wanted.path))).collect();
            // A chain whose middle is done elsewhere begins behind it.
            let mut places: Vec<Option<usize>> = Vec::new();
            let mut count = 0;
            for keep in &kept {
                places.push(keep.then_some(count));
                count += usize::from(*keep);
            }
            for step in &mut steps {
                step.after = step.after.and_then(|after| places[after]);
            }
            signatures.insert(wanted.path.clone(), own.into_iter().chain(of_parents.into_iter().cloned()).collect());
            let app = self.app(&self.want.objects[pair]);
            let mut nodes = Vec::new();
            let steps: Vec<TableStep> =
                steps.into_iter().zip(&kept).filter(|(_, keep)| **keep).map(|(step, _)| step).collect();
            let steps = if self.joins_types { types_together(steps) } else { steps };
            for step in steps {
                let rank = if step.stage == Stage::Late || step.is_last { 5 } else { 2 };
                let node = self.add(app.clone(), step.operation.clone(), (rank, at));
                nodes.push(TableNode { node, step });
            }
            self.tables.insert(at, nodes);
        }
    }

    pub(super) fn depth(&self, at: usize) -> usize {
        let Some(relation) = self.have.relation(at) else { return 0 };
        let parents = self.have.definitions.relations.values().filter(|one| relation.parents.contains(&one.path));
        let deepest = parents.filter_map(|one| self.have.at((RELATION, one.oid))).map(|one| self.depth(one) + 1);
        deepest.max().unwrap_or_default()
    }

    pub(super) fn around(&self, at: usize, pair: usize, had: &Relation, wanted: &Relation) -> Around {
        let mut around = Around { reset: self.fates.reset.get(&at).cloned().unwrap_or_default(), ..Around::default() };
        for (model, table) in [(self.want, pair), (self.have, at)] {
            for user in model.users(table) {
                if let Some((column, clause)) = identity_of(&model.objects[*user]) {
                    around.identities.entry(column).or_insert(clause);
                }
            }
        }
        let relabelled =
            |one: &u32| self.have.at((1247, *one)).is_some_and(|at| matches!(self.fates.of[at], Fate::NewLabels));
        for column in &had.columns {
            let same = wanted.column(&column.quoted).is_some_and(|other| other.data_type == column.data_type);
            if relabelled(&column.type_oid) && same {
                around.retyped.insert(column.quoted.clone());
                around.reset.remove(&Part::Default(column.quoted.clone()));
            }
        }
        let values = self.terms.values.iter().filter(|((table, _), _)| *table == wanted.name);
        around.values = values.map(|((_, column), value)| (column.clone(), value.clone())).collect();
        let without_cast = self.terms.without_cast.iter().filter(|(table, _)| *table == wanted.name);
        around.without_cast = without_cast.map(|(_, column)| column.clone()).collect();
        around.batch_key = batch_key(self.have, had).filter(|key| {
            let kept = wanted.column(key).zip(had.column(key));
            kept.is_some_and(|(new, old)| new.data_type == old.data_type)
        });
        around.short_name = short_name(&wanted.name, &self.app(&self.want.objects[pair]));
        around
    }

    pub(super) fn connect_tables(&mut self) {
        for at in self.tables.keys().copied().collect::<Vec<_>>() {
            let shape: Vec<(NodeIndex, Stage, Vec<String>, Option<usize>)> = self.tables[&at]
                .iter()
                .map(|one| (one.node, one.step.stage, one.step.columns.clone(), one.step.after))
                .collect();
            for (node, stage, column, after) in &shape {
                if let Some(after) = after {
                    self.edge(shape[*after].0, *node);
                }
                for (other, earlier, its_column, _) in &shape {
                    let same = column.iter().any(|one| its_column.contains(one));
                    let first = match (earlier, stage) {
                        // A check would go with its column.
                        (Stage::Early, Stage::Early) => its_column.is_empty() && !column.is_empty(),
                        (Stage::Early, _) | (Stage::Type, Stage::Add | Stage::Check) | (Stage::Add, Stage::Check) => {
                            true
                        }
                        (Stage::Type, Stage::Other) | (Stage::Add, Stage::Other) => same,
                        (_, Stage::Late) => *earlier == Stage::Type || (same && *earlier != Stage::Late),
                        _ => false,
                    };
                    if first {
                        self.edge(*other, *node);
                    }
                }
            }
            self.connect_table_needs(at);
        }
    }

    /// What a table's steps use must be there: all that the wished table needs.
    pub(super) fn connect_table_needs(&mut self, at: usize) {
        let Some(pair) = self.fates.pair[at] else { return };
        let mut needs: BTreeSet<usize> = self.want.objects[pair].needs.iter().copied().collect();
        for user in self.want.users(pair) {
            if matches!(self.want.objects[*user].kind(), "DEFAULT" | "CHECK CONSTRAINT") {
                needs.extend(self.want.objects[*user].needs.iter().copied().filter(|one| *one != pair));
            }
        }
        let steps = self.table_nodes(at, |one| !matches!(one.stage, Stage::Early | Stage::Late));
        for need in &needs {
            let made = self.ready(*need);
            self.all(&made, &steps);
        }
        self.uses(&needs, &steps);
        // A replica identity is an index; a parent must have its columns.
        let late = self.table_nodes(at, |one| one.stage == Stage::Late && one.columns.is_empty());
        let made: Vec<NodeIndex> = self.want.users(pair).iter().flat_map(|one| self.ready(*one)).collect();
        self.all(&made, &late);
    }
}

/// Types of several columns change in one statement, which writes the table anew once.
fn types_together(mut steps: Vec<TableStep>) -> Vec<TableStep> {
    let joins = |step: &TableStep| {
        step.stage == Stage::Type
            && step.after.is_none()
            && step.operation.up.len() == 1
            && step.operation.down.as_ref().is_ok_and(|down| down.len() == 1)
    };
    let Some(first) = steps.iter().position(joins) else { return steps };
    let others: Vec<usize> = (first + 1..steps.len()).filter(|at| joins(&steps[*at])).collect();
    let behind = |statement: &str| statement.find(" ALTER COLUMN ").map(|at| statement[at..].to_owned());
    for at in &others {
        let other = steps[*at].clone();
        let (Some(up), Ok(down)) = (behind(&other.operation.up[0]), &other.operation.down) else { return steps };
        let Some(down) = behind(&down[0]) else { return steps };
        let step = &mut steps[first];
        step.operation.up[0].push_str(&format!(",\n   {up}"));
        if let Ok(own) = &mut step.operation.down {
            own[0].push_str(&format!(",\n   {down}"));
        }
        step.columns.extend(other.columns);
        if let (Some(title), Some(its)) = (&mut step.operation.title, other.operation.title) {
            if let (Some((head, table)), Some((its, _))) =
                (title.text.rsplit_once(" of "), its.text.rsplit_once(" of "))
            {
                title.text = format!("{head}, {} of {table}", its.trim_start_matches("Alter column "));
            }
            title.words = format!("{}_types", title.words.rsplit_once('_').map_or("", |(table, _)| table));
        }
    }
    // What is left keeps what it comes after.
    let place = |at: usize| at - others.iter().filter(|gone| **gone < at).count();
    let mut kept = Vec::new();
    for (at, mut step) in steps.into_iter().enumerate().filter(|(at, _)| !others.contains(at)) {
        step.after = step.after.map(|after| place(if others.contains(&after) { first } else { after }));
        debug_assert!(kept.len() == place(at));
        kept.push(step);
    }
    kept
}
