//! What functions name in their text. PostgreSQL checks the text of a function when it is made, and records nothing of what
//! it found there (unless the body is SQL by itself, `BEGIN ATOMIC` or `RETURN`).

use super::*;

impl<'a> Builder<'a> {
    /// A function comes behind what its text names, and goes before it, where nothing speaks against that: a word may be
    /// one by accident.
    pub(super) fn connect_mentioned(&mut self) {
        let (have, want) = (self.have, self.want);
        for (at, named) in mentioned(want) {
            let was = self.fates.was[at];
            let altered = was.and_then(|was| self.altered.get(&was));
            let own: Vec<NodeIndex> = self.made.get(&at).into_iter().chain(altered).flatten().copied().collect();
            for one in &named {
                let ready = self.ready(*one);
                self.where_possible(&ready, &own);
            }
            self.uses(&named, &own);
        }
        for (at, named) in mentioned(have) {
            let altered = self.altered.get(&at).into_iter().flatten();
            let own: Vec<NodeIndex> = self.dropped.get(&at).into_iter().chain(altered).copied().collect();
            for one in named {
                let mut gone = self.table_nodes(one, |step| step.stage == Stage::Late);
                gone.extend(self.dropped.get(&one).copied());
                self.where_possible(&own, &gone);
            }
        }
    }

    fn where_possible(&mut self, before: &[NodeIndex], after: &[NodeIndex]) {
        for one in before {
            for other in after {
                if !has_path_connecting(&self.graph, *other, *one, None) {
                    self.edge(*one, *other);
                }
            }
        }
    }
}

/// Functions and procedures, with the relations, types and functions whose names are words of their text.
fn mentioned(model: &Model) -> Vec<(usize, BTreeSet<usize>)> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, object) in model.objects.iter().enumerate() {
        let is_named = is_relation(object.kind())
            || matches!(object.kind(), "SEQUENCE" | "TYPE" | "DOMAIN" | "FUNCTION" | "PROCEDURE" | "AGGREGATE");
        let name = object.name().split('(').next().unwrap_or_default();
        is_named.then(|| by_name.entry(name).or_default().push(at));
    }
    let functions = model.objects.iter().enumerate();
    let functions = functions.filter(|(_, one)| matches!(one.kind(), "FUNCTION" | "PROCEDURE"));
    functions
        .map(|(at, object)| {
            let text = object.statements.first().map(String::as_str).unwrap_or_default();
            let words = text.split(|one: char| !one.is_alphanumeric() && one != '_' && one != '$');
            let named = words.filter_map(|word| by_name.get(word)).flatten().copied().filter(|one| *one != at);
            (at, named.collect())
        })
        .collect()
}
