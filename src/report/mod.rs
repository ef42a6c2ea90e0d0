//! Values to text, JSON, Markdown, HTML, SARIF and annotations (pure).

mod annotations;
pub mod effects;
mod finding;
mod format;
mod html;
mod markdown;
mod redact;
pub mod rehearsal;
mod rehearsal_effect;
#[cfg(test)]
mod sample_report;
mod sarif;
#[cfg(test)]
mod schema;
mod server_words;
mod shown;
mod summary;
mod without_samples;

pub use annotations::{annotations, without_commands};
pub use finding::{Evidence, FindingLevel, FindingReport};
pub use format::{
    first_five, format_ago, format_bytes, format_count, format_duration, format_list, format_things, format_time,
};
pub use html::page as html_page;
pub use markdown::markdown;
pub use redact::{redact, strip_password};
pub use sarif::sarif;
pub use shown::{shown, shown_behind_a_label, shown_in_one_line};
