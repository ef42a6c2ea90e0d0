//! `--proof later`: the restored database is in service before all its rows are read back.
//!
//! Counts and schema are proven, and the names are swapped while the database takes nobody but superusers: a rename fails
//! while somebody is connected, and rows that change prove nothing. Then every table is locked against changes of the
//! schema, one snapshot is exported, and the database is opened; what is read back is what was there before anybody came.

use std::time::Instant;

use crate::postgres::database::MarkedDatabase;
use crate::postgres::fence::{self, ClosedFence};
use crate::postgres::{Capabilities, ExportedSnapshot, RunRecord};

use super::super::Error;
use super::super::project::Server;
use super::super::proof::{self, Proof, ProofLevel};
use super::without::LeftOut;
use super::{Destination, Job, Moments, RestoreRequest, SwapReport};

/// Refuses it where it could not be done.
pub(super) async fn refuse(server: &Server, request: &RestoreRequest) -> Result<(), Error> {
    if !request.prove_later {
        return Ok(());
    }
    if request.destination != Destination::InPlace {
        return Err(Error::RestoreRefused("--proof later is for a restore with --in-place".to_owned()));
    }
    let role = Capabilities::read(&server.maintenance, "").await?;
    if role.superuser {
        return Ok(());
    }
    Err(Error::RestoreRefused(format!(
        "--proof later needs a superuser: until its snapshot is exported the database lets nobody else in, and role \"{}\" \
         would be kept out too; leave it out, or take --proof counts",
        role.role
    )))
}

impl Job<'_> {
    /// Swaps, exports a snapshot, opens the database, and proves the rows under that snapshot.
    pub(super) async fn put_in_service(
        &self,
        database: MarkedDatabase,
        run: &mut RunRecord,
        without: &LeftOut,
        (proof, moments, begun): (&mut Proof, &mut Moments, Instant),
    ) -> Result<Option<SwapReport>, Error> {
        let maintenance = &self.server.maintenance;
        let limit = self.plan.properties.connection_limit.max(-1);
        let closed = ClosedFence::of(maintenance, &database.name, &run.id, Some(limit)).await?;
        closed.close(maintenance).await?;
        let swapped = self.put_in_place(database, run).await;
        crate::fault::point("restore.in-place-closed");
        let exported = async {
            let swap = swapped?;
            let live = swap.as_ref().map(|swap| swap.live.clone()).unwrap_or_default();
            let spec = self.project.database(&live);
            let lister = spec.connect("safe-migrate snapshot list").await?;
            let exported = ExportedSnapshot::take(&spec, &lister, self.project.lock_wait).await?;
            lister.close().await;
            let ours = [exported.session.backend_pid()];
            let others = fence::other_sessions(maintenance, &live, &ours).await?;
            Ok::<_, Error>((swap, spec, exported, others))
        };
        let exported = exported.await;
        // Whatever came of it: it is the operator's database, and must be open.
        closed.lift(maintenance).await?;
        let (swap, spec, exported, others) = exported?;
        moments.in_service_seconds = Some(begun.elapsed().as_secs_f64());
        self.operator.step(&format!(
            "\"{}\" is in service after {:.1} s; its rows are proven meanwhile",
            spec.database(),
            begun.elapsed().as_secs_f64()
        ));
        for other in others {
            let words = &other.words;
            self.operator
                .warn(&format!("a superuser was in before it was proven, and what it wrote is a difference: {words}"));
        }
        crate::fault::point("restore.in-service");
        let reader = match without.tables.is_empty() {
            true => self.reader.clone(),
            false => self.reader.leaving_out(&without.tables, &without.sequences),
        };
        let how = (ProofLevel::Rows, Some(exported.name.as_str()));
        let rows = proof::prove_rows(&spec, reader.manifest(), how, self.project.jobs, self.operator).await?;
        moments.vacuum_held_back_seconds = Some(exported.end().await?.as_secs_f64());
        moments.proven_seconds = begun.elapsed().as_secs_f64();
        proof.level = ProofLevel::Rows;
        proof.differences = rows.differences;
        Ok(swap)
    }
}
