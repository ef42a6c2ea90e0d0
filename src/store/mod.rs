//! The object store: a local directory or S3, with retries. The only place with the S3 client.
//!
//! | file | what it holds |
//! |---|---|
//! | `backend.rs` | [`ObjectStore`], what every backend can do |
//! | `key.rs` | [`ObjectKey`], the only names an object may have |
//! | `settings.rs` | [`StoreSettings`] as configured, and the place they name |
//! | `local.rs`, `s3.rs` | the two backends; `s3_error.rs` gives the answers of S3 their meaning |
//! | `retry.rs` | the decorator that is the one place for retries |
//! | `opened.rs` | [`Store`]: a backend whose `safe-migrate.json` was read |
//! | `signed.rs` | signatures beside objects |
//! | `known_stores.rs` | which store this user found at an address before |
//! | `numbers.rs` | [`Numbers`] of this machine's signatures, outside of the store |
//!
//! No correctness rests on conditional writes (S3-compatible servers accept `If-None-Match` and ignore it), on
//! `Last-Modified`, or on the clock of the store. Writing needs put and get only.

mod backend;
#[cfg(test)]
mod conformance;
mod error;
mod key;
mod known_stores;
mod local;
mod numbers;
mod opened;
mod retry;
mod s3;
mod s3_error;
mod settings;
mod signed;

pub use backend::{ObjectInfo, ObjectStore};
pub use error::{Cause, StoreError};
pub use key::ObjectKey;
pub use numbers::{Numbered, Numbers};
pub use opened::Store;
pub use settings::StoreSettings;
pub use signed::{Number, Signable};
