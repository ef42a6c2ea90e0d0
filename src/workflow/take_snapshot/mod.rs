//! Takes a snapshot: pre-flight, leader, schema, rows by several workers, publication.

mod pace;
mod preflight;
mod rows;

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crate::postgres::blockers::{self, Blocked, Patience, SnapshotSessions};
use crate::postgres::catalog::Peculiarities;
use crate::postgres::roles::RoleFacts;
use crate::postgres::{ExportedSnapshot, Session, archive, catalog};
use crate::report::{format_bytes, format_duration, format_things};
use crate::snapshot::{
    Blob, FORMAT_VERSION, Manifest, Reason, SequenceRecord, ServerRecord, SnapshotId, SnapshotWriter, TableData,
    VerifiedSnapshot, WriterOptions,
};
use crate::store::Store;

use preflight::{Preflight, preflight};
use rows::copy_tables;

use super::project::Server;
use super::schema_reading::RawRecord;
use super::{Error, Interrupt, Operator, Project, manifest_parts, signed};

/// The opaque objects of a snapshot.
struct Objects {
    schema: Blob,
    roles: Blob,
    large_objects: Option<Blob>,
    sequences: Vec<SequenceRecord>,
}

/// Takes, publishes and verifies a snapshot of the project's database.
pub async fn take_snapshot(
    project: &Project,
    server: &Server,
    store: &Store,
    reason: Reason,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<VerifiedSnapshot, Error> {
    signed::refuse_unsigned(project, store)?;
    operator.step(&format!("taking a snapshot of \"{}\"", project.target.database()));
    let started_at = server.clock.now();
    let preflight = preflight(project, operator).await?;
    let others_waited = AtomicU64::new(0);
    let options = WriterOptions {
        id: SnapshotId::generate(started_at),
        source: project.source.clone(),
        known: project.written_snapshots(store),
        level: project.compression,
    };
    let id = options.id.clone();
    let writer = interrupt.or(async { Ok(SnapshotWriter::begin(store.clone(), options).await?) }).await?;
    let copied = insist(project, server, &writer, &preflight, (operator, interrupt), &others_waited).await;
    if copied.is_err() {
        writer.give_up().await;
    }
    let (exported, (objects, tables, fingerprint)) = copied?;
    let lsn = exported.lsn.clone();
    let extensions = catalog::extensions(&exported.session).await?;
    // Nothing is read from production any more.
    let vacuum_held_back = exported.end().await?;
    preflight.session.close().await;
    let mut settings = server.identity.settings.clone();
    settings.insert(manifest_parts::LC_MONETARY.to_owned(), preflight.peculiarities.lc_monetary);
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        features: Vec::new(),
        id,
        source: project.source.clone(),
        store_id: store.id().to_owned(),
        started_at,
        finished_at: server.clock.now(),
        reason,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        scope: "all".to_owned(),
        server: ServerRecord {
            version: server.identity.version.clone(),
            version_num: server.identity.version_num,
            system_identifier: server.identity.system_identifier.clone(),
            pg_dump_version: server.programs.version().to_string(),
            lsn,
            settings,
        },
        database: manifest_parts::database_record(&preflight.properties),
        schema: objects.schema,
        roles: objects.roles,
        bootstrap_role: server.identity.bootstrap_role.clone(),
        large_objects: objects.large_objects,
        sequences: objects.sequences,
        extensions: manifest_parts::extension_records(extensions),
        invalid_indexes: preflight.invalid_indexes,
        fingerprint: Some(super::json("the fingerprint", &fingerprint)?),
        warnings: preflight.warnings,
        vacuum_held_back_ms: Some(u64::try_from(vacuum_held_back.as_millis()).unwrap_or(u64::MAX)),
        others_waited_ms: Some(others_waited.into_inner()),
        tables,
        stored: Vec::new(),
        totals: Default::default(),
    };
    let published = publish(writer, manifest, operator).await?;
    project.remember_written(store, published.id()).await;
    Ok(published)
}

type Copied = (Objects, Vec<TableData>, RawRecord);

/// Copies everything, from the locks on. Begins again when somebody asked for an exclusive lock before our programs had
/// theirs: they would wait for him, and he for us.
async fn insist(
    project: &Project,
    server: &Server,
    writer: &SnapshotWriter,
    preflight: &Preflight,
    (operator, interrupt): (&dyn Operator, &Interrupt),
    others_waited: &AtomicU64,
) -> Result<(ExportedSnapshot, Copied), Error> {
    let begun = Instant::now();
    let mut again = false;
    let lister = &preflight.session;
    loop {
        let exported = interrupt
            .or(async { Ok(ExportedSnapshot::take(&project.target, lister, project.lock_wait).await?) })
            .await?;
        let programs = async {
            tokio::try_join!(
                write_objects(project, server, &exported, &preflight.peculiarities, writer),
                raw_record(project, server, &exported)
            )
        };
        let rows = copy_tables(project, &exported, preflight, writer, operator);
        let copied = Box::pin(async {
            // Workers give way to somebody who asks for a lock and programs cannot: the second time they have the machine
            // for themselves until they have read all.
            let ((objects, record), tables) =
                if again { (programs.await?, rows.await?) } else { tokio::try_join!(programs, rows)? };
            Ok((objects, tables, record))
        });
        let blocked = match interrupt.or(unless_blocked(project, (lister, &exported), copied, others_waited)).await? {
            Ok(copied) => return Ok((exported, copied)),
            Err(blocked) => blocked,
        };
        exported.give_up().await;
        if let (Blocked::Deadlocked(words), false) = (&blocked, again) {
            operator.step(&format!("beginning again, because it would wait for who waits for it: {words}"));
        }
        again = true;
        let (wait, block) = (project.lock_wait.as_secs_f64(), project.max_block.unwrap_or_default());
        return Err(Error::SnapshotRefused(match blocked {
            Blocked::Deadlocked(_) if begun.elapsed() < project.lock_wait => continue,
            Blocked::Deadlocked(words) => format!(
                "for {wait} s others asked for exclusive locks as soon as it had its own ([snapshot] lock_wait): {words}"
            ),
            Blocked::Waits(words) => format!("it waited {wait} s for a lock that others hold: {words}"),
            Blocked::HoldsUp(words) => {
                format!("another session waited {} for it ([snapshot] max_block): {words}", format_duration(block))
            }
        }));
    }
}

/// By this `apply` knows later that production's schema is still the one that was rehearsed, without bringing it into
/// normal form.
async fn raw_record(project: &Project, server: &Server, exported: &ExportedSnapshot) -> Result<RawRecord, Error> {
    let ignored = project.fingerprint_ignore.clone();
    let reading = server.read_schema_under(project, exported).await?;
    Ok(RawRecord { raw: reading.record, ignored })
}

async fn publish(
    writer: SnapshotWriter,
    manifest: Manifest,
    operator: &dyn Operator,
) -> Result<VerifiedSnapshot, Error> {
    let counters = writer.counters();
    let verified = writer.publish(manifest).await?;
    let totals = verified.manifest().totals;
    let vacuum = verified.manifest().vacuum_held_back();
    let vacuum = vacuum.map(|time| format!("; vacuum was held back for {}", format_duration(time)));
    let waited = verified.manifest().others_waited().filter(|time| !time.is_zero());
    let waited = waited.map(|time| format!("; others waited for it for up to {}", format_duration(time)));
    operator.step(&format!(
        "snapshot {}: {}, {} copied, {} stored, {} of it new{}{}",
        verified.id(),
        format_things(verified.manifest().users_rows(), "row"),
        format_bytes(totals.raw_bytes),
        format_bytes(totals.stored_bytes),
        format_bytes(counters.sent_bytes),
        vacuum.unwrap_or_default(),
        waited.unwrap_or_default()
    ));
    Ok(verified)
}

async fn write_objects(
    project: &Project,
    server: &Server,
    exported: &ExportedSnapshot,
    peculiarities: &Peculiarities,
    writer: &SnapshotWriter,
) -> Result<Objects, Error> {
    let (programs, target) = (&server.programs, &project.target);
    let seen = (&*exported.session, exported.name.as_str());
    let schema = archive::dump_schema(programs, target, seen).await?;
    let schema = writer.put_blob(schema).await?;
    let roles = RoleFacts::read(&exported.session).await?.script(server.identity.major());
    let roles = writer.put_blob(roles.into_bytes()).await?;
    let large_objects = if peculiarities.large_objects {
        Some(writer.put_blob(archive::dump_large_objects(programs, target, seen).await?).await?)
    } else {
        None
    };
    let sequences = manifest_parts::sequence_records(catalog::sequences(&exported.session).await?);
    Ok(Objects { schema, roles, large_objects, sequences })
}

/// Stops when the snapshot cannot go on: the leader or `pg_dump` waits for somebody's lock, or somebody for theirs.
async fn unless_blocked<T>(
    project: &Project,
    (session, exported): (&Session, &ExportedSnapshot),
    work: impl Future<Output = Result<T, Error>>,
    others_waited: &AtomicU64,
) -> Result<Result<T, Blocked>, Error> {
    let (leader, name) = (exported.session.backend_pid(), archive::dump_session_name(&exported.name));
    let ours = SnapshotSessions { leader, programs: &name };
    let patience = Patience { wait: project.lock_wait, block: project.max_block };
    tokio::select! {
        result = work => result.map(Ok),
        blocked = blockers::watch(session, ours, patience, others_waited) => {
            let blocked = blocked?;
            blockers::cancel(session, leader, &name).await?;
            Ok(Err(blocked))
        }
    }
}
