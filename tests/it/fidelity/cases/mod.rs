//! The cases, as data.

mod objects;
mod tables;
mod types;

pub use objects::OBJECTS;
pub use tables::TABLES;
pub use types::TYPES;

/// One thing that must round-trip.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is; also the schema that it is made in, first in the search path.
    pub name: &'static str,
    /// SQL condition that a server must fulfil to have such a thing at all.
    pub needs: Option<&'static str>,
    /// Makes it. `{owner}` and `{reader}` are roles, `{database}` is the database.
    pub sql: &'static str,
}

/// A case for every server.
const fn case(name: &'static str, sql: &'static str) -> Case {
    Case { name, needs: None, sql }
}

/// A case for servers that fulfil a condition.
const fn case_if(name: &'static str, needs: &'static str, sql: &'static str) -> Case {
    Case { name, needs: Some(needs), sql }
}
