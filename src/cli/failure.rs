//! What a workflow's error means at the terminal: exit code, code for scripts, state of production, next step.

use super::error::{CliError, ErrorKind};
use crate::migration::Conflict;
use crate::postgres::foreign_code::ForeignCode;
use crate::postgres::{DatabaseError, ExecuteError};
use crate::snapshot::SnapshotError;
use crate::workflow::{Error, Gate, NotMade};

const UNCHANGED: &str = "unchanged";

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let (kind, code) = classify(&error);
        let mut hints = hints(&error);
        hints.extend(exhausted(&error).map(str::to_owned));
        let state = match &error {
            Error::RunStopped { production, .. } => production.clone(),
            Error::VerificationFailed { .. } => "migrated, and not as rehearsed".to_owned(),
            _ => UNCHANGED.to_owned(),
        };
        let message = error.to_string();
        let mut failure = CliError::new(kind, code, message).production(state);
        for hint in hints {
            failure = failure.hint(hint);
        }
        failure.caused_by(error)
    }
}

/// Exit kind and code of an error.
fn classify(error: &Error) -> (ErrorKind, &'static str) {
    match error {
        Error::Connection(error) if error.is_configuration() => (ErrorKind::Usage, "connection-string"),
        Error::Connection(_) => (ErrorKind::Failed, "connection"),
        Error::Database(_) => (ErrorKind::Failed, "database"),
        Error::Program(_) => (ErrorKind::Failed, "programs"),
        Error::Cluster(_) => (ErrorKind::Failed, "shadow"),
        Error::Mark(_) => (ErrorKind::Failed, "mark"),
        Error::Replace(_) => (ErrorKind::Failed, "replace-database"),
        Error::Export(_) => (ErrorKind::Snapshot, "snapshot-locks"),
        Error::Archive(_) => (ErrorKind::Failed, "archive"),
        Error::Ledger(_) => (ErrorKind::Failed, "ledger"),
        Error::Lock(crate::postgres::LockError::Held { .. }) => (ErrorKind::Locked, "locked"),
        Error::Lock(_) => (ErrorKind::Failed, "lock"),
        Error::Execute(ExecuteError::Stopped { changed: false, .. }) => (ErrorKind::Interrupted, "interrupted"),
        Error::Execute(error) if error.left_changes() => (ErrorKind::ProductionChanged, "migration-failed"),
        Error::Execute(_) => (ErrorKind::Failed, "migration-failed"),
        Error::Store(error) if error.is_configuration() => (ErrorKind::Usage, "store-address"),
        Error::Store(_) => (ErrorKind::Snapshot, "store"),
        Error::Snapshot(SnapshotError::InvalidId { .. }) => (ErrorKind::Usage, "snapshot-id"),
        Error::Snapshot(_) => (ErrorKind::Snapshot, "snapshot"),
        Error::NoSnapshot { .. } => (ErrorKind::Snapshot, "no-snapshot"),
        Error::Migration(_) => (ErrorKind::Usage, "migration-files"),
        Error::Plan(_) | Error::NoWayDown { .. } => (ErrorKind::Usage, "plan"),
        Error::Gate(gate) => (ErrorKind::Gate, gate_code(gate)),
        Error::Command(_) => (ErrorKind::Failed, "command-failed"),
        Error::Pooler(_) => (ErrorKind::Gate, "pooler"),
        Error::SnapshotRefused(_) => (ErrorKind::Snapshot, "snapshot-refused"),
        Error::NoCreatedb { .. } => (ErrorKind::Failed, "no-createdb"),
        Error::ShadowRefused { .. } => (ErrorKind::Gate, "shadow-refused"),
        Error::RestoreRefused(_) => (ErrorKind::Failed, "restore-refused"),
        Error::NotMade { .. } => (ErrorKind::Failed, "not-made"),
        Error::NoSuchPart { .. } => (ErrorKind::Usage, "no-such-part"),
        Error::NotPossible { .. } => (ErrorKind::Usage, "not-possible"),
        Error::OutputExists(_) => (ErrorKind::Usage, "output-exists"),
        Error::File { .. } | Error::Json { .. } | Error::Page { .. } => (ErrorKind::Failed, "file"),
        Error::Interrupted => (ErrorKind::Interrupted, "interrupted"),
        Error::RunStopped { changed: true, .. } => (ErrorKind::ProductionChanged, "run-stopped"),
        // It was changed and is as before again.
        Error::RunStopped { source, .. } => match classify(source) {
            (ErrorKind::ProductionChanged, code) => (ErrorKind::Failed, code),
            kind => kind,
        },
        Error::VerificationFailed { .. } => (ErrorKind::ProductionChanged, "verification-failed"),
    }
}

fn gate_code(gate: &Gate) -> &'static str {
    match gate {
        Gate::ChangedFiles(_) => "changed-file",
        Gate::MissingFiles(_) => "missing-file",
        Gate::Conflict(_) => "conflict",
        Gate::Inconsistent(_) => "inconsistent-history",
        Gate::MixedLedger { .. } => "mixed-ledger",
        Gate::Drift { .. } => "drift",
        Gate::Standby(_) => "standby",
        Gate::ChangedMeanwhile { .. } => "changed-meanwhile",
        Gate::NoRestore(_) => "no-restore",
        Gate::RestoreAfterFailure(_) => "restore-after-failure",
        Gate::RehearsalFailed { .. } => "rehearsal-failed",
        Gate::HalfDone(_) | Gate::HalfDoneWithoutFile(_) => "half-done",
        Gate::Receipt { .. } => "receipt",
        Gate::DataLoss { .. } => "data-loss",
        Gate::Policy(_) => "policy",
        Gate::ForeignCode(_) => "foreign-code",
        Gate::NotConfirmed => "not-confirmed",
        Gate::ProgramMissing(_) => "program-missing",
        Gate::ForgetsMany { .. } => "forgets-many",
        Gate::CannotSign { .. } => "cannot-sign",
        Gate::CannotAsk => "no-confirmation",
        Gate::NameNotTyped(_) => "name-not-typed",
        Gate::LargeSnapshot(_) => "large-snapshot",
        Gate::SwapObstacles { .. } => "swap-obstacles",
        Gate::ProofFailed(_) => "proof-failed",
        Gate::RecoveryRefused { .. } => "recovery-refused",
        Gate::SnapshotChoice(_) => "snapshot-choice",
        Gate::Fence { .. } => "fence",
        Gate::Exec { .. } => "exec",
        Gate::Unproven { .. } => "unproven",
    }
}

/// What to do next.
fn hints(error: &Error) -> Vec<String> {
    let one = |hint: &str| vec![hint.to_owned()];
    match error {
        Error::Connection(error) => error.hint().map(str::to_owned).into_iter().collect(),
        Error::Program(error) => vec![error.hint()],
        Error::Cluster(error) => error.hint().into_iter().collect(),
        Error::Mark(error) => error.hint().map(str::to_owned).into_iter().collect(),
        Error::Migration(error) => error.hint().into_iter().collect(),
        Error::Plan(error) => error.hint().into_iter().collect(),
        Error::Store(error) => one(error.hint()),
        Error::Snapshot(error) => one(error.hint()),
        Error::NoCreatedb { role } => vec![format!("ALTER ROLE {role} CREATEDB, or connect as a role that may")],
        Error::Lock(crate::postgres::LockError::Held { .. }) => {
            one("wait for it with --wait 5m, or look at it with `safe-migrate history`")
        }
        Error::Ledger(crate::postgres::LedgerError::NotOurs { .. }) => one(
            "find out who made it; then drop it, give it to a role you trust (ALTER … OWNER TO), or name its owner in [ledger] owners",
        ),
        Error::Ledger(crate::postgres::LedgerError::Newer { .. }) => one("use the newer safe-migrate that wrote it"),
        Error::Execute(ExecuteError::Unclear { .. }) => {
            one("look whether it took effect; then --step done, or --step again, or restore the snapshot of that run")
        }
        Error::NoSnapshot { hint, .. } => one(hint),
        Error::NotMade { not_made, kept } => not_made_hints(not_made, kept.as_deref()),
        Error::NoSuchPart { hint, .. } => hint.iter().cloned().collect(),
        Error::ShadowRefused { hint, .. } | Error::NoWayDown { hint, .. } | Error::NotPossible { hint, .. } => {
            vec![hint.clone()]
        }
        Error::OutputExists(_) => one("name a new path with --output"),
        Error::Pooler(_) => one("give the address of the server itself with --database"),
        Error::Gate(gate) => gate_hint(gate),
        Error::RunStopped { hint, .. } | Error::VerificationFailed { hint, .. } => vec![hint.clone()],
        _ => Vec::new(),
    }
}

/// What to do when the server ran out of something, whatever was being done.
fn exhausted(error: &Error) -> Option<&'static str> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(of_server) = one.downcast_ref::<DatabaseError>() {
            return exhausted_in(of_server);
        }
        cause = one.source();
    }
    None
}

fn exhausted_in(error: &DatabaseError) -> Option<&'static str> {
    Some(match error.sqlstate.as_deref()? {
        "53100" => "the server's disk is full; the message names the file, and for a shadow [shadow] dir another disk",
        "53200" if error.message.contains("shared memory") => {
            "raise max_locks_per_transaction on the server and restart it: one lock is taken for each table"
        }
        "53200" => {
            "the server has too little memory; lower [snapshot] jobs, or maintenance_work_mem and work_mem there"
        }
        "53300" => "all connections of the server are taken; lower [snapshot] jobs, or raise max_connections",
        "53400" => "a limit of the server is reached; its message names it",
        "22021" | "22P05" => {
            "a name or a text in the catalogs is not in UTF-8; `safe-migrate snapshot create` lists such names of an SQL_ASCII database"
        }
        _ => return None,
    })
}

/// The options that pass what cannot be restored, and how to go on where the rows are there.
fn not_made_hints(not_made: &[NotMade], kept: Option<&str>) -> Vec<String> {
    let without: Vec<String> = not_made.iter().map(|one| format!("--without '{}'", one.entry)).collect();
    let mut hints = vec![format!("a restore goes on without that: {}; or --keep-going", without.join(" "))];
    if not_made.iter().any(|one| one.entry.starts_with("FK CONSTRAINT ")) {
        hints.push("foreign keys that rows do not pass come back as NOT VALID with --not-valid".to_owned());
    }
    if let Some(command) = kept {
        hints.push(format!("the rows are loaded and kept; with these options, or when it is mended: {command}"));
    }
    hints
}

/// Each place begins with `app/name`.
fn changed_hint(places: &[String]) -> String {
    let first = places.first().and_then(|place| place.split(' ').next()).unwrap_or_default();
    let (app, name) = first.split_once('/').unwrap_or_default();
    format!("put the text that was applied back; or, where both build the same: safe-migrate repair {app} {name}")
}

fn trust_hint(code: &[ForeignCode]) -> String {
    let owners: std::collections::BTreeSet<&str> = code.iter().filter_map(|code| code.owner.as_deref()).collect();
    let owners: Vec<String> = owners.into_iter().map(|owner| format!("{owner:?}")).collect();
    format!(
        "read what they do; if you trust them: owners = [{}] in [trust], or once, for a restore, --run-foreign-code WHY",
        owners.join(", ")
    )
}

fn gate_hint(gate: &Gate) -> Vec<String> {
    let hint = match gate {
        Gate::ChangedFiles(places) => return vec![changed_hint(places)],
        Gate::MissingFiles(_) => "check out the release that has them; `safe-migrate status` lists what is applied",
        Gate::Conflict(conflicts) => return conflicts.iter().map(merge_hint).collect(),
        Gate::Inconsistent(_) => "nothing can be put before what is applied; correct the `-- run-before:` lines",
        Gate::Drift { .. } => "find out who changed it; to go on as it is: --accept-drift WHY",
        Gate::MixedLedger { .. } => {
            "take these rows out of safe_migrate.migration, or restore the snapshot from before they came; what this schema \
             really has: safe-migrate apply --fake"
        }
        Gate::Standby(_) => "give the address of the primary with --database",
        Gate::ChangedMeanwhile { .. } => "run the command again",
        Gate::NoRestore(_) => {
            "run it as a role that may (`safe-migrate doctor` says what is missing), or go on with --accept-no-restore WHY"
        }
        Gate::RestoreAfterFailure(_) => "or choose \"stop\" or \"rollback\" in [on_failure]",
        Gate::RehearsalFailed { advice: Some(advice), .. } => return vec![advice.clone()],
        Gate::RehearsalFailed { .. } => "correct the migration and run the command again",
        Gate::HalfDoneWithoutFile(_) => {
            "put the file back under that name and apply it, or restore what was before that run: \
             safe-migrate restore --before RUN --in-place"
        }
        Gate::HalfDone(_) => "finish it with `safe-migrate apply`, or restore the snapshot of the run that began it",
        Gate::Receipt { .. } => "rehearse anew with --rehearsal new",
        Gate::DataLoss { plan_hash, .. } => {
            return vec![format!("if that is meant, say so: --accept-data-loss {plan_hash}")];
        }
        Gate::Policy(_) => return policy_hints(),
        Gate::ForeignCode(code) => return vec![trust_hint(code)],
        Gate::NotConfirmed => return Vec::new(),
        Gate::NameNotTyped(name) => return vec![format!("in a script: --confirm-name {name}")],
        Gate::ProgramMissing(_) => "put it there; a name without a directory is looked for in PATH",
        Gate::ForgetsMany { plan_hash, .. } => {
            return vec![
                format!("if that is meant, remove exactly these: --plan-hash {plan_hash}"),
                "where the rules are right and this comes again: a larger --max-remove, or max_remove in [retention]"
                    .to_owned(),
            ];
        }
        Gate::CannotAsk => "give --yes to confirm in a script",
        Gate::LargeSnapshot(_) => "run it on a terminal, or raise [limits] ask_above",
        Gate::SwapObstacles { .. } => "end them, then swap; what was restored is kept",
        Gate::ProofFailed(_) => "verify the snapshot with `safe-migrate snapshot verify ID --level hash`",
        Gate::RecoveryRefused { hint, .. }
        | Gate::CannotSign { hint, .. }
        | Gate::Fence { hint, .. }
        | Gate::Exec { hint, .. }
        | Gate::Unproven { hint, .. } => return vec![hint.clone()],
        Gate::SnapshotChoice(_) => "take a new one with --snapshot new",
    };
    vec![hint.to_owned()]
}

/// How to pass a denied finding on purpose.
pub(crate) fn policy_hints() -> Vec<String> {
    vec![
        "to accept one: write `-- allow: CODE why` above `-- migrate:up` of its file".to_owned(),
        "to accept all of a kind: CODE = \"warn\" in [policy] of safe-migrate.toml, or raise the budget".to_owned(),
    ]
}

fn merge_hint(conflict: &Conflict) -> String {
    let leaves: Vec<String> = conflict.leaves.iter().map(ToString::to_string).collect();
    format!(
        "`safe-migrate make --merge` tries them in both orders; by hand: a migration with `-- depends: {}`",
        leaves.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::LedgerError;

    /// What is exhausted is found however deep the server's error lies.
    #[test]
    fn a_full_disk_has_its_hint_wherever_it_was_met() {
        let full = || {
            let mut error = DatabaseError::of_ours("no space left".to_owned());
            error.sqlstate = Some("53100".to_owned());
            error
        };
        let errors = [
            Error::Database(full()),
            Error::Ledger(LedgerError::Database(full())),
            Error::Export(crate::postgres::ExportError::Database(full())),
            Error::Lock(crate::postgres::LockError::Database(full())),
            Error::Execute(ExecuteError::Database(full())),
        ];
        for error in errors {
            let failure = CliError::from(error);
            assert!(failure.hints.iter().any(|hint| hint.contains("disk is full")), "{failure:?}");
        }
    }
}
