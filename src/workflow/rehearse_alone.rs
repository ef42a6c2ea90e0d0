//! A rehearsal without a run: from a snapshot that is there already, production is not even connected to.

use time::OffsetDateTime;

use crate::migration::MigrationSet;

use crate::report::{format_ago, format_time};
use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::rehearse::{self, Rehearsal, RehearsalRequest};
use super::shadow::Kept;
use super::{Error, Interrupt, Operator, Project, Selection, State, manifest_parts};

/// Restores a snapshot and rehearses on it what is pending by its own ledger. None: there is nothing to do.
///
/// With `samples` the report holds examples of values. The shadow of the rehearsal still runs; the caller stops it.
pub async fn rehearse_alone(
    project: &Project,
    store: &Store,
    snapshot: &SnapshotId,
    (selection, samples): (&Selection, bool),
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Option<Rehearsal>, Error> {
    refuse_early(project, selection)?;
    let reader = project.open_snapshot(store, snapshot, operator).await?;
    let manifest = reader.manifest();
    operator.step(&format!(
        "rehearsing on snapshot {snapshot} of \"{}\", taken {} ({})",
        manifest.source,
        format_time(manifest.started_at),
        format_ago(manifest.started_at, OffsetDateTime::now_utc())
    ));
    refuse_missing_role(project, &reader).await?;
    let programs = project.programs(manifest.server.version_num / 10_000)?;
    let kept = Kept::of(project, &programs, manifest)?;
    let restored = rehearse::restore(project, &programs, &reader, kept.as_ref(), operator, interrupt).await?;
    let session = restored.shadow.spec().connect("safe-migrate rehearsal").await?;
    let mut state = State::read(project, &session).await?;
    state.refuse_mixed(project).await?;
    state.record_squashes(&session, &project.ledger_owners).await?;
    drop(session);
    let plan = state.plan(selection)?;
    state.refuse_disagreement(&plan)?;
    if plan.is_empty() {
        restored.shadow.stop().await?;
        return Ok(None);
    }
    let request =
        RehearsalRequest { reader: &reader, plan: &plan, role: project.target.user(), samples, one_transaction: false };
    Ok(Some(rehearse::rehearse_on(project, store, &programs, restored, request, operator, interrupt).await?))
}

/// The migrations run as the role that would run them in production, so the snapshot must know it.
async fn refuse_missing_role(project: &Project, reader: &SnapshotReader) -> Result<(), Error> {
    let (role, manifest) = (project.target.user(), reader.manifest());
    let roles = manifest_parts::roles(reader).await?.facts;
    if role == manifest.bootstrap_role || roles.names().any(|name| name == role) {
        return Ok(());
    }
    Err(Error::RestoreRefused(format!(
        "the server of snapshot {} had no role \"{role}\", and the migrations would run as that; name the role that runs \
         them in production as the user of --database, or rehearse with --snapshot new",
        manifest.id
    )))
}

/// What is wrong with the files or the target whatever is applied is said before the long restore.
fn refuse_early(project: &Project, selection: &Selection) -> Result<(), Error> {
    let migrations = MigrationSet::load(&project.migrations_dir, &project.default_app)?;
    if let Selection::Forward { app, target } = selection {
        migrations.plan_apply(&[], app.as_deref(), target.as_deref())?;
    }
    Ok(())
}
