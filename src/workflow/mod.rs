//! The promises: take a snapshot, rehearse, apply, roll back, restore.

mod operator;

pub use operator::{Confirmation, Operator, Unit};
