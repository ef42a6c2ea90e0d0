//! What to change where the server refuses a statement for where it stands, and not for what it says.

use super::super::DatabaseError;
use super::ExecuteError;

impl ExecuteError {
    /// What to do about it; none: the statement itself must be corrected. `together`: the plan runs in one transaction
    /// (`--fence`).
    pub fn advice(&self, together: bool) -> Option<&'static str> {
        match self {
            Self::Statement { source, .. } | Self::Step { source, .. } => advice(source, together),
            Self::AtCommit { .. } => Some(
                "deferred constraints are checked at COMMIT; `SET CONSTRAINTS ALL IMMEDIATE` behind a statement shows \
                 whether it is that one",
            ),
            _ => None,
        }
    }
}

/// By SQLSTATE (PostgreSQL's documentation, "PostgreSQL Error Codes").
fn advice(error: &DatabaseError, together: bool) -> Option<&'static str> {
    Some(match (error.sqlstate.as_deref()?, together) {
        ("25001", false) => "it cannot run in a transaction: write `-- migrate:up transaction:false` above it",
        ("25001", true) => {
            "it cannot run in a transaction, and --fence makes one of the plan: apply it without --fence"
        }
        ("55P04", false) => {
            "a new value of an enum type counts after the COMMIT: add it in a migration of its own, before this one"
        }
        ("55P04", true) => {
            "a new value of an enum type counts after the COMMIT, and --fence makes one transaction of the plan: apply the \
             migration that adds it in a run before this one"
        }
        ("55006", _) => {
            "triggers of earlier statements wait for the COMMIT: write `SET CONSTRAINTS ALL IMMEDIATE;` above it; or a cursor \
             is open: close it before"
        }
        _ => return None,
    })
}
