//! The steps with what each must follow, and the order that comes of it.

mod altered;
mod default_privileges;
mod dropped;
mod made;
mod mentioned;
mod order;
mod renewed;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::{has_path_connecting, kosaraju_scc};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::postgres::definitions::{Part, RELATION, Relation};

use super::super::model::{Model, Object, is_relation, without_only};
use super::alter::type_name;
use super::fate::{Fate, Fates};
use super::operation::{Mode, Operation};
use super::table::{Around, Comparison, Stage, TableStep};
use super::{Inexpressible, Terms, privileges};

/// One step of a difference.
#[derive(Clone, Debug)]
pub(in super::super) struct Step {
    pub(in super::super) app: String,
    pub(in super::super) operation: Operation,
    /// Places of the steps that it must follow.
    pub(in super::super) after: BTreeSet<usize>,
    /// Apps whose objects, there already, it uses.
    pub(in super::super) uses: BTreeSet<String>,
    /// Which of those that can run comes first.
    pub(in super::super) rank: (u8, usize),
}

/// A step of a table, with its node.
struct TableNode {
    node: NodeIndex,
    step: TableStep,
}

pub(super) struct Builder<'a> {
    have: &'a Model,
    want: &'a Model,
    terms: &'a Terms<'a>,
    fates: Fates,
    graph: DiGraph<Step, ()>,
    /// By place in `have`.
    dropped: BTreeMap<usize, NodeIndex>,
    /// By place in `want`.
    made: BTreeMap<usize, Vec<NodeIndex>>,
    /// By place in `have`: first and last.
    altered: BTreeMap<usize, Vec<NodeIndex>>,
    /// By place in `have`.
    tables: BTreeMap<usize, Vec<TableNode>>,
    /// Drops that happen with another one, by that other's place.
    implied: Vec<(usize, usize)>,
    /// Unique indexes (place in `have`) that become constraints (place in `want`) as they are.
    promoted: BTreeMap<usize, usize>,
    /// Indexes and constraints (place in `have`) whose successor is built beside them.
    renewed: BTreeSet<usize>,
    /// Whether types of several columns of a table change in one statement.
    joins_types: bool,
}

fn is_table(kind: &str) -> bool {
    matches!(kind, "TABLE" | "FOREIGN TABLE")
}

impl<'a> Builder<'a> {
    pub(super) fn new(have: &'a Model, want: &'a Model, terms: &'a Terms<'a>, fates: Fates, joins_types: bool) -> Self {
        Self {
            have,
            want,
            terms,
            fates,
            graph: DiGraph::new(),
            dropped: BTreeMap::new(),
            made: BTreeMap::new(),
            altered: BTreeMap::new(),
            tables: BTreeMap::new(),
            implied: Vec::new(),
            promoted: BTreeMap::new(),
            renewed: BTreeSet::new(),
            joins_types,
        }
    }

    pub(super) fn build(mut self) -> Result<Vec<Step>, Vec<Inexpressible>> {
        self.compare_tables();
        self.find_renewed();
        self.drop_objects()?;
        self.make_objects();
        self.alter_objects();
        self.connect_tables();
        self.connect_drops();
        self.connect_made();
        self.connect_calls();
        self.connect_implied();
        self.connect_mentioned();
        self.ordered()
    }

    fn add(&mut self, app: String, operation: Operation, rank: (u8, usize)) -> NodeIndex {
        self.graph.add_node(Step { app, operation, after: BTreeSet::new(), uses: BTreeSet::new(), rank })
    }

    fn app(&self, object: &Object) -> String {
        self.terms.apps.get(&object.key).cloned().unwrap_or_else(|| self.terms.default_app.to_owned())
    }

    /// The app of an object, or of the relation it is a part of when no app made it.
    fn app_at(&self, model: &Model, at: usize) -> String {
        let own = self.terms.apps.get(&model.objects[at].key);
        let part_of = || model.objects[at].part_of.iter().find_map(|one| self.terms.apps.get(&model.objects[*one].key));
        own.or_else(part_of).cloned().unwrap_or_else(|| self.terms.default_app.to_owned())
    }

    fn edge(&mut self, before: NodeIndex, after: NodeIndex) {
        if before != after {
            self.graph.update_edge(before, after, ());
        }
    }

    fn chain(&mut self, nodes: &[NodeIndex]) {
        for pair in nodes.windows(2) {
            self.edge(pair[0], pair[1]);
        }
    }

    fn all(&mut self, before: &[NodeIndex], after: &[NodeIndex]) {
        for one in before {
            for other in after {
                self.edge(*one, *other);
            }
        }
    }

    fn table_nodes(&self, at: usize, wanted: impl Fn(&TableStep) -> bool) -> Vec<NodeIndex> {
        let nodes = self.tables.get(&at).into_iter().flatten();
        nodes.filter(|one| wanted(&one.step)).map(|one| one.node).collect()
    }

    fn stays(&self, want_at: usize) -> bool {
        self.fates.was[want_at].is_some_and(|was| matches!(self.fates.of[was], Fate::Keep | Fate::Alter(_)))
    }

    fn uses_column(&self, at: usize, table: u32, number: i16) -> bool {
        let address = self.have.objects[at].address;
        self.have.definitions.users.get(&(table, number)).is_some_and(|users| users.contains(&address))
    }
}

/// The sequence, as SQL names it, and the quoted column of `ALTER SEQUENCE s OWNED BY t.c` or of an identity.
fn counted_column<'o>(model: &Model, object: &'o Object) -> Option<(&'o str, &'o str)> {
    let first = object.statements.first()?;
    if object.kind() == "SEQUENCE OWNED BY" {
        let (sequence, column) = first.strip_prefix("ALTER SEQUENCE ")?.split_once(" OWNED BY ")?;
        let tables = object.part_of.iter().filter_map(|one| model.relation(*one));
        let column = tables.into_iter().find_map(|one| column.strip_prefix(&one.path)?.strip_prefix('.'))?;
        return Some((sequence, column));
    }
    let (head, clause) = first.split_once(" ADD GENERATED ").filter(|_| object.kind() == "SEQUENCE")?;
    let (_, sequence) = clause.split_once("SEQUENCE NAME ")?;
    Some((sequence.lines().next()?.trim(), head.split_once(" ALTER COLUMN ")?.1))
}

/// Column and clause of `ALTER TABLE t ALTER COLUMN c ADD GENERATED … AS IDENTITY (…)`.
fn identity_of(object: &Object) -> Option<(String, String)> {
    let first = object.statements.first().filter(|_| object.kind() == "SEQUENCE")?;
    let (head, clause) = first.split_once(" ADD GENERATED ")?;
    let (_, column) = head.split_once(" ALTER COLUMN ")?;
    Some((column.to_owned(), format!("GENERATED {}", clause.split_whitespace().collect::<Vec<_>>().join(" "))))
}

fn concurrently(statements: &[String]) -> Vec<String> {
    let change = |one: &String| match one.starts_with("CREATE ") {
        true => one.replacen(" INDEX ", " INDEX CONCURRENTLY ", 1),
        false => one.clone(),
    };
    statements.iter().map(change).collect()
}

/// The column of a primary key of one whole number, quoted.
fn batch_key(model: &Model, table: &Relation) -> Option<String> {
    let key = model.definitions.constraint_indexes.values().find(|one| one.kind == 'p' && one.table == table.oid)?;
    let columns = key.definition.rsplit_once(" btree (")?.1.trim_end_matches(')');
    let column = table.column(columns)?;
    matches!(column.data_type.as_str(), "bigint" | "integer" | "smallint").then(|| column.quoted.clone())
}

/// A table's name without its app's before it.
fn short_name(name: &str, app: &str) -> String {
    match name.strip_prefix(app).and_then(|rest| rest.strip_prefix('_')) {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => name.to_owned(),
    }
}
