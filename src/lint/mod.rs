//! Findings from the text of SQL statements (pure).

mod findings;
mod history;
mod level;
mod parsed;
mod policy;
mod reach_out;
mod rules;
mod section;

pub use findings::{Finding, data_loss, lint_files, lint_files_while, lint_plan};
pub use level::Level;
pub use policy::Policy;
pub use reach_out::{Reach, ReachOut, reach_out};
pub use rules::{Rule, Subject, rule, rules};
