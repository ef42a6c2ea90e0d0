//! Writes migration files: empty ones, merges of two leaves, new numbers, squashes. What a file claims is proven in private
//! databases before it is written; production is only read.

mod empty;
mod make;
mod merge;
mod place;
mod renumber;
mod squash;

pub use empty::{EmptyRequest, empty};
pub(super) use place::write_new;

pub use make::{Made, MadeMigration, MakeRequest, SchemaFile, make, schema_files};
pub use merge::{MergeRequest, Merged, merge};
pub use renumber::{RenumberRequest, Renumbered, renumber};
pub use squash::{SquashRequest, Squashed, squash};
