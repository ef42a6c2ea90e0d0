//! Who wrote what lies in a store: Ed25519 signatures, and the keys that count (pure).
//!
//! | file | what it holds |
//! |---|---|
//! | `key.rs` | [`PublicKey`] and [`SigningKey`], the latter as PEM like `openssl genpkey` writes it |
//! | `statement.rs` | [`Statement`]: what is signed of an object, and its text |
//! | `trust.rs` | [`Trust`]: the keys of the configuration, what each may sign, and whether a signature counts |
//!
//! A key counts only when the configuration, the command line or the environment names it. What lies in the store, keys
//! included, never grants trust.

mod key;
mod statement;
mod trust;

pub use key::{InvalidKey, PublicKey, SigningKey};
pub use statement::{Kind, Statement};
pub use trust::{Doubt, May, Object, SignedBy, Trust, TrustedKey};
