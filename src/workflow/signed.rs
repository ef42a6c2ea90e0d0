//! What a run must know of signatures before it begins: that what it writes will be believed, and whom it believes.

use crate::report::{format_things, format_time};
use crate::signing::May;
use crate::snapshot::{self, SnapshotReader};
use crate::store::Store;

use super::{Confirmation, Error, Gate, Operator, Project};

/// Refuses to take a snapshot that nobody would believe afterwards: before anything is copied.
pub(super) fn refuse_unsigned(project: &Project, store: &Store) -> Result<(), Error> {
    let trust = store.trust();
    if !trust.is_set() || trust.accept_unsigned.is_some() {
        return Ok(());
    }
    let (message, hint) = match (&trust.signer, trust.own()) {
        (None, _) => (
            "[trust] keys is set, and this machine has no key: its snapshot would not be believed".to_owned(),
            "make one with `safe-migrate store keys new` and add its line to [trust] keys, or give --accept-unsigned WHY"
                .to_owned(),
        ),
        (Some(signer), None) => (
            format!("[trust] keys does not name {}, the key of this machine: its snapshot would not be believed", signer.public()),
            format!(
                "add the line to [trust] keys: {{ name = \"{}\", key = \"{}\" }}, or give --accept-unsigned WHY",
                project.actor.host,
                signer.public()
            ),
        ),
        (Some(_), Some(own)) => {
            let for_source = own.sources.is_empty() || own.sources.contains(&project.source);
            if own.may.contains(&May::Snapshot) && for_source && own.last.is_none() && own.only.is_none() {
                return Ok(());
            }
            (
                format!(
                    "the key of this machine, \"{}\", may not sign snapshots of source \"{}\": they would not be believed",
                    own.name, project.source
                ),
                "change its `may` or `sources` in [trust] keys, or use a snapshot that is there: --snapshot ID".to_owned(),
            )
        }
    };
    Err(Gate::CannotSign { message, hint }.into())
}

/// Asks before a snapshot is put back that is signed, on a machine that nothing tells whom to believe: who could write to
/// the store could have signed it. One that this machine wrote itself is known.
pub(super) async fn refuse_stranger(
    project: &Project,
    store: &Store,
    reader: &SnapshotReader,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let trust = store.trust();
    if trust.is_set() || trust.accept_unsigned.is_some() || project.wrote_manifest(store, reader) == Some(true) {
        return Ok(());
    }
    let id = &reader.manifest().id;
    let Some(statement) = snapshot::statement(store, id).await? else { return Ok(()) };
    let key = statement.key.to_string();
    if trust.signer.as_ref().is_some_and(|signer| signer.public() == statement.key) {
        return Ok(());
    }
    let (mut signed, mut since) = (0, id.clone());
    for one in snapshot::list(store).await? {
        if snapshot::statement(store, &one.id).await?.is_some_and(|other| other.key == statement.key) {
            signed += 1;
            since = since.min(one.id);
        }
    }
    operator.step(&format!(
        "snapshot {id} is signed by {key}, as are {} since {}; nothing on this machine says whether that key is yours",
        format_things(signed, "snapshot"),
        format_time(since.begun_at()),
    ));
    let question = "Is it the key that you kept off the host? From there, not from this screen.";
    match operator.confirm_name(question, &key) {
        Confirmation::Yes => Ok(()),
        Confirmation::No => Err(Gate::NotConfirmed.into()),
        Confirmation::CannotAsk => Err(Gate::CannotSign {
            message: format!("snapshot {id} is signed by {key}, and nothing on this machine says whether that key is yours"),
            hint: "compare it with what `safe-migrate store keys` told you to keep off the host, and give it: --trust-key KEY"
                .to_owned(),
        }
        .into()),
    }
}
