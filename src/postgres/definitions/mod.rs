//! The parts of a schema's objects, read from the catalogs: what an `ALTER` can change.
//!
//! The archive of `pg_dump` ([`super::archive_entries`]) has every object as one text. That is enough to make one and to
//! tell two apart; to change a column in place its parts are needed. All names are quoted by the server where they must be.

mod read;

use std::collections::{BTreeMap, BTreeSet};

pub use read::{drops, read};

/// OID of a catalog and of a row in it, as `pg_depend` names an object.
pub type Address = (u32, u32);

/// OID of `pg_class`.
pub const RELATION: u32 = 1259;
/// OID of `pg_type`.
pub const TYPE: u32 = 1247;
/// OID of `pg_constraint`.
pub const CONSTRAINT: u32 = 2606;
/// OID of `pg_proc`.
pub const FUNCTION: u32 = 1255;

/// What can be changed in place in one database.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Tables, foreign tables, views and composite types by OID (of a composite type: that of its type).
    pub relations: BTreeMap<u32, Relation>,
    /// Labels of enums, in their order, by the OID of the type.
    pub enums: BTreeMap<u32, Vec<String>>,
    /// Domains by the OID of the type.
    pub domains: BTreeMap<u32, Domain>,
    /// Arguments and result of functions and procedures by OID; with other ones `CREATE OR REPLACE` is refused.
    pub functions: BTreeMap<u32, (String, String)>,
    /// The indexes of unique, primary key and exclusion constraints, by the OID of the constraint.
    pub constraint_indexes: BTreeMap<u32, ConstraintIndex>,
    /// What uses a column: by table and column number.
    pub users: BTreeMap<(u32, i16), BTreeSet<Address>>,
    /// Generated columns (quoted) whose expression uses a column: by table and column number.
    pub generated_from: BTreeMap<(u32, i16), BTreeSet<String>>,
    /// Functions, types and sequences that defaults and checks of a table use, by the table and the quoted column, or the
    /// constraint's name.
    pub used_by_parts: BTreeMap<(u32, Part), BTreeSet<Address>>,
    /// Quoted names of the check constraints of tables, by OID.
    pub check_names: BTreeMap<u32, String>,
    /// Indexes that are an index's partition: child, parent.
    pub attached_indexes: BTreeMap<u32, u32>,
}

/// A part of a table with dependencies of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Default or generation expression of this column (quoted name).
    Default(String),
    /// Check of this (quoted) name.
    Check(String),
}

/// A relation with columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// OID of its `pg_class` row.
    pub oid: u32,
    /// Schema, as the catalog has it.
    pub schema: String,
    /// Name, as the catalog has it.
    pub name: String,
    /// Quoted name.
    pub quoted: String,
    /// Quoted `schema.name`.
    pub path: String,
    /// `pg_class.relkind`.
    pub kind: char,
    /// `pg_class.relpersistence`.
    pub persistence: char,
    /// Storage parameters, those of the TOAST table with `toast.` before them.
    pub options: Vec<String>,
    /// `REPLICA IDENTITY` clause.
    pub replica_identity: String,
    /// Quoted index by which it is clustered.
    pub cluster: Option<String>,
    /// Whether row-level security holds for the owner too.
    pub forced_row_security: bool,
    /// Partition key.
    pub partition_key: Option<String>,
    /// Quoted parents, by inheritance or partitioning.
    pub parents: Vec<String>,
    /// Whether it is a partition.
    pub is_partition: bool,
    /// Quoted owner.
    pub owner: String,
    /// Columns in their order.
    pub columns: Vec<Column>,
    /// Check constraints of its own.
    pub checks: Vec<Check>,
}

/// A column of a table or view, or an attribute of a composite type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Number.
    pub number: i16,
    /// Name, as the catalog has it.
    pub name: String,
    /// Quoted name.
    pub quoted: String,
    /// `format_type()`.
    pub data_type: String,
    /// OID of its type, or of the element of an array.
    pub type_oid: u32,
    /// Whether the type is an array.
    pub is_array: bool,
    /// Quoted collation, unless it is that of the type.
    pub collation: Option<String>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// From 18 on: the quoted name of the NOT NULL constraint, when it is not the name that PostgreSQL would choose.
    pub not_null_name: Option<String>,
    /// Default or generation expression.
    pub default: Option<String>,
    /// `a` or `d` for an identity column, else blank.
    pub identity: char,
    /// `s` (stored) or `v` (virtual) for a generated column, else blank.
    pub generated: char,
    /// Storage.
    pub storage: &'static str,
    /// Storage that its type has by itself.
    pub type_storage: &'static str,
    /// `pg_type.typcategory`: within `N` and `S` a value is converted without being asked to.
    pub category: char,
    /// Compression method, when one is set.
    pub compression: Option<&'static str>,
    /// Statistics target, when one is set.
    pub statistics: Option<i32>,
    /// Attribute options such as `n_distinct=5`.
    pub options: Vec<String>,
    /// Whether it is inherited only.
    pub inherited: bool,
}

/// A check constraint of a table or domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Quoted name.
    pub quoted: String,
    /// `pg_get_constraintdef()`, with `NOT VALID` where it is not.
    pub definition: String,
    /// Whether it is valid.
    pub valid: bool,
}

/// A domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// Quoted `schema.name`.
    pub path: String,
    /// Type with modifiers, and the collation.
    pub base: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Default.
    pub default: Option<String>,
    /// Constraints.
    pub checks: Vec<Check>,
}

/// The index under a constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintIndex {
    /// `p`, `u` or `x`.
    pub kind: char,
    /// OID of the table.
    pub table: u32,
    /// OID of the index.
    pub index: u32,
    /// `pg_get_indexdef()`.
    pub definition: String,
    /// ` DEFERRABLE INITIALLY DEFERRED` and so on.
    pub deferrable: &'static str,
    /// Whether it has a period (`WITHOUT OVERLAPS`, 18).
    pub period: bool,
}

impl Relation {
    /// The column of this quoted name.
    pub fn column(&self, quoted: &str) -> Option<&Column> {
        self.columns.iter().find(|one| one.quoted == quoted)
    }

    /// Whether it is a table, partitioned, foreign or not.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, 'r' | 'p' | 'f')
    }
}
