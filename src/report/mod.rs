//! Values to text, JSON and Markdown (pure).

pub mod effects;
mod finding;
mod format;
pub mod rehearsal;
mod rehearsal_effect;

pub use finding::{Evidence, FindingLevel, FindingReport};
pub use format::{format_ago, format_bytes, format_count, format_duration, format_things, format_time};
