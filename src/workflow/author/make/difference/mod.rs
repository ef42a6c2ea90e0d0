//! The difference of two schemas as steps, in an order in which they can run.
//!
//! An object is dropped, made, changed in place, or dropped and made again. What uses something that is made again is made
//! again too. The order comes from the dependencies that pg_dump read from `pg_depend`.

mod alter;
mod fate;
mod graph;
mod operation;
mod privileges;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Key, Model};

pub(super) use graph::Step;
pub(super) use operation::{Mode, Operation};
pub(super) use table::required_columns;

/// What the difference depends on besides the two schemas.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    /// The app of an object.
    pub(super) apps: &'a BTreeMap<Key, String>,
    /// The app of what no app made.
    pub(super) default_app: &'a str,
    /// Values for columns that get NOT NULL: by table and column, as the catalog names them.
    pub(super) values: &'a BTreeMap<(String, String), String>,
    /// Columns, by table and column, whose old type PostgreSQL has no cast for to the new one.
    pub(super) without_cast: &'a BTreeSet<(String, String)>,
    /// Materialized views (schema, name) that hold rows where they are wished for.
    pub(super) populated: &'a BTreeSet<(String, String)>,
    /// Major version of the server.
    pub(super) major: u32,
    /// Whether indexes and constraints are made without long locks.
    pub(super) online: bool,
}

/// An object that cannot be brought from one definition to the other.
#[derive(Clone, Debug)]
pub(super) struct Inexpressible {
    pub(super) key: Key,
    pub(super) have: Option<String>,
    pub(super) want: Option<String>,
    pub(super) why: String,
}

/// The steps from `have` to `want`, in their order.
pub(super) fn difference(have: &Model, want: &Model, terms: &Terms<'_>) -> Result<Vec<Step>, Vec<Inexpressible>> {
    let build = |joins_types| {
        let fates = fate::Fates::decide(have, want)?;
        graph::Builder::new(have, want, terms, fates, joins_types).build()
    };
    // What uses a column may have to go between two of them.
    build(true).or_else(|_| build(false))
}
