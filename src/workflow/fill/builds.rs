//! Which indexes and constraints are made while rows are still being loaded, and what each of them waits for.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::ArchiveEntry;
use crate::postgres::statistics::Name;
use crate::snapshot::{Manifest, TableData};

/// An index, a constraint or an attachment that is made as soon as what it needs is there.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) entry: ArchiveEntry,
    /// Tables that must be full, as the manifest counts them.
    pub(super) full: BTreeSet<usize>,
    /// Other builds that must be there, by their numbers in the archive.
    pub(super) made: BTreeSet<u32>,
    pub(super) locks: Locks,
}

/// Tables that a task locks: those of the manifest by its count, then the partitioned ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Locks {
    pub(super) tables: BTreeSet<usize>,
    /// Whether nobody else may build on them meanwhile; an index shares its table with another one.
    pub(super) exclusive: bool,
}

impl Locks {
    /// Whether the one would wait for the other.
    pub(super) fn conflict(&self, other: &Self) -> bool {
        (self.exclusive || other.exclusive) && !self.tables.is_disjoint(&other.tables)
    }
}

/// A partitioned table whose rows are all in tables that are loaded on their own.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) name: Name,
    /// Its partitions that have rows, as the manifest counts them.
    pub(super) full: BTreeSet<usize>,
    /// What `ANALYZE` of it locks: itself and its partitions.
    pub(super) locks: Locks,
}

/// Kinds that come with or after the rows: an entry that needs one of them that is not a build comes after it.
const LATER: &[&str] = &[
    "CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "RULE",
    "STATISTICS",
    "TRIGGER",
];

/// Kinds that are built.
///
/// A comment is in the section of the entry before it: without the index that it is about, `pg_restore` would take it
/// for pre-data, and leave it out.
const BUILT: &[&str] = &["COMMENT", "CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH"];

/// The partitioned tables that can be analyzed as a whole as soon as their partitions are full.
pub(super) fn trees(manifest: &Manifest, found: Vec<(Name, Vec<Name>)>) -> Vec<Tree> {
    let numbers = numbers(manifest);
    let alone = |leaf: &usize| manifest.tables[*leaf].hash_partition_root.is_none();
    let mut trees = Vec::new();
    for (name, leaves) in found {
        let mut tables: BTreeSet<usize> = leaves.iter().filter_map(|leaf| numbers.get(leaf).copied()).collect();
        let full: BTreeSet<usize> =
            tables.iter().copied().filter(|leaf| !manifest.tables[*leaf].segments.is_empty()).collect();
        if tables.iter().all(alone) {
            tables.insert(manifest.tables.len() + trees.len());
            trees.push(Tree { name, full, locks: Locks { tables, exclusive: true } });
        }
    }
    trees
}

/// The builds in the archive's order; what is left out comes when all rows are there.
///
/// An entry is a build when each table that it needs is loaded on its own, or is one of the `trees`, and each index or
/// constraint that it needs is a build.
pub(super) fn builds(manifest: &Manifest, trees: &[Tree], entries: Vec<ArchiveEntry>) -> Vec<Build> {
    let places = places(manifest, trees);
    let of_table = |entry: &ArchiveEntry| {
        let name = (entry.schema.clone().unwrap_or_default(), entry.name.clone());
        (entry.kind == "TABLE").then(|| (entry.id, places.get(&name)))
    };
    let tables: BTreeMap<u32, Option<&Place>> = entries.iter().filter_map(of_table).collect();
    let later: BTreeSet<u32> =
        entries.iter().filter(|entry| LATER.contains(&entry.kind.as_str())).map(|entry| entry.id).collect();
    let mut builds: BTreeMap<u32, Build> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in entries {
        if BUILT.contains(&entry.kind.as_str())
            && !entry.sql.is_empty()
            && let Some(build) = build(entry, &tables, &later, &builds)
        {
            order.push(build.entry.id);
            builds.insert(build.entry.id, build);
        }
    }
    order.into_iter().filter_map(|id| builds.remove(&id)).collect()
}

fn build(
    entry: ArchiveEntry,
    tables: &BTreeMap<u32, Option<&Place>>,
    later: &BTreeSet<u32>,
    builds: &BTreeMap<u32, Build>,
) -> Option<Build> {
    if entry.kind == "COMMENT" && !entry.needs.iter().all(|id| builds.contains_key(id)) {
        return None;
    }
    let is_index = entry.kind == "INDEX";
    let (mut full, mut made, mut locked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for id in &entry.needs {
        if let Some(place) = tables.get(id) {
            let place = (*place)?;
            match place.whole {
                // `CREATE INDEX … ON ONLY` of a partitioned table looks at no row, and locks no partition.
                Some(own) if is_index => drop(locked.insert(own)),
                _ => {
                    full.extend(&place.full);
                    locked.extend(&place.locks);
                }
            }
        } else if later.contains(id) {
            let needed = builds.get(id)?;
            made.insert(*id);
            // These name no table, only the indexes.
            if ["COMMENT", "INDEX ATTACH"].contains(&entry.kind.as_str()) {
                full.extend(&needed.full);
                locked.extend(&needed.locks.tables);
            }
        }
    }
    let locks = Locks { tables: locked, exclusive: !is_index };
    (!locks.tables.is_empty()).then_some(Build { entry, full, made, locks })
}

/// Where rows lie that a build is about.
struct Place {
    full: BTreeSet<usize>,
    locks: BTreeSet<usize>,
    /// The number of a partitioned table itself.
    whole: Option<usize>,
}

fn places(manifest: &Manifest, trees: &[Tree]) -> BTreeMap<Name, Place> {
    let own = |(number, table): (usize, &TableData)| {
        let full = (!table.segments.is_empty()).then_some(number).into_iter().collect();
        let place = Place { full, locks: BTreeSet::from([number]), whole: None };
        table.hash_partition_root.is_none().then(|| (name(table), place))
    };
    let whole = |(number, tree): (usize, &Tree)| {
        let whole = Some(manifest.tables.len() + number);
        (tree.name.clone(), Place { full: tree.full.clone(), locks: tree.locks.tables.clone(), whole })
    };
    let tables = manifest.tables.iter().enumerate().filter_map(own);
    tables.chain(trees.iter().enumerate().map(whole)).collect()
}

fn numbers(manifest: &Manifest) -> BTreeMap<Name, usize> {
    manifest.tables.iter().enumerate().map(|(number, table)| (name(table), number)).collect()
}

pub(super) fn name(table: &TableData) -> Name {
    (table.schema.clone(), table.name.clone())
}
