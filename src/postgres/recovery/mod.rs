//! SQL of the recovery of a part: what a table is, its rows between two sessions, what is written and what is saved.
//!
//! Every function works on the session that it is given: one on the scratch database, which holds the part as the
//! snapshot has it, or one on the live database, where nothing is made but what the caller's transaction makes.

mod column;
mod column_definition;
mod definition;
mod entries;
mod facts;
mod foreign_key;
mod made;
mod missing;
mod rename;
mod stage;
mod taken_out;
mod transaction;

pub use column::{ColumnCounts, ColumnRows, SavedColumns};
pub use column_definition::{ColumnDefinition, Dependent, missing_objects_of_column};
pub use definition::{DefinitionError, TableScripts, attach, condition_view, define, table_scripts};
pub use entries::{prerequisites, script};
pub use facts::{
    Column, Key, KeyColumn, Relation, columns, dependents, describe_kind, owned_sequences, primary_key, relation, tree,
    user_triggers, views_missing,
};
pub use foreign_key::{ForeignKey, drop_foreign_key, foreign_keys, stage_key, unmatched};
pub use made::{
    analyze, column_number, count_rows, drop_column, drop_table, keep_column, lock_alone, quoted_columns,
    ready_for_rows, rows_query, saved_name, saved_table, saved_table_of,
};
pub use missing::{MissingCounts, MissingRows, insert_missing};
pub use rename::{Renamed, rename_all, rename_for, way_back};
pub use stage::{fit, transfer};
pub use taken_out::{FoundRows, InsertedRows, find_untouched, take_out};
pub use transaction::{Outcome, attempt, back_to_our_path, begin, commit, roll_back};

use super::{DatabaseError, Session};

/// A number that a statement counts.
async fn count(session: &Session, sql: &str) -> Result<u64, DatabaseError> {
    let found: i64 = session.query_one(sql, &[]).await?.get(0);
    Ok(u64::try_from(found).unwrap_or_default())
}
