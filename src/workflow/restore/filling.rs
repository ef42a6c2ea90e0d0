//! The long part of a restore: the new database is filled, proven, and given the properties of the old one.

use std::collections::BTreeSet;
use std::path::Path;

use crate::postgres::database::{self, DatabaseProperties, HostedOn, MarkedDatabase};
use crate::postgres::deferred_checks::{self, NotValid};
use crate::postgres::{
    ConnectionSpec, LedgerError, MarkKind, RunRecord, Section, Tablespaces, WorkDirectory, archive, ledger,
    subscription,
};

use super::super::code_of_others::CodeOfOthers;
use super::super::fill::{self, FillTarget, NotMade};
use super::super::proof::{self, Proof};
use super::super::schema_reading::{SchemaReading, read_raw};
use super::super::{Error, Gate, Interrupt, json, run_record};
use super::without::{self, LeftOut};
use super::{Destination, Job, SwapReport, swap};

impl Job<'_> {
    pub(super) fn spec(&self) -> ConnectionSpec {
        self.project.database(&self.plan.fills)
    }

    /// Fills the database and proves that it is the snapshot.
    pub(super) async fn fill_and_prove(
        &self,
        run: &mut RunRecord,
        properties: &DatabaseProperties,
        (code, without): (&CodeOfOthers, &LeftOut),
        interrupt: &Interrupt,
    ) -> Result<Proof, Error> {
        let reader = &match without.tables.is_empty() {
            true => self.reader.clone(),
            false => self.reader.leaving_out(&without.tables, &without.sequences),
        };
        let files = WorkDirectory::create(&self.project.shadow_dir)
            .map_err(|source| Error::File { what: "cannot make a temporary directory".to_owned(), source })?;
        let target = FillTarget {
            spec: self.spec(),
            programs: &self.server.programs,
            files: files.path(),
            jobs: self.project.jobs,
            outside_links: true,
            left_out: &without.ids,
            private: false,
            code,
            failing: self.request.failing,
        };
        let verb = if self.plan.resumes { "going on with" } else { "filling" };
        self.operator.step(&format!("{verb} \"{}\" from snapshot {}", self.plan.fills, self.plan.snapshot));
        let filling = fill::fill_and_prove(&target, reader, self.request.proof, self.operator);
        let mut scratch = self.scratch(properties).await?;
        let mut plain = self.project.database(&scratch.name);
        let both = async { tokio::try_join!(filling, self.restore_plain(&plain, files.path(), &without.ids)) };
        let (mut proof, ()) = interrupt.or(both).await?;
        let not_made: BTreeSet<u32> = proof.not_made.iter().filter_map(NotMade::id).collect();
        if !not_made.is_empty() {
            // What did not come back is not to be in the schema that is compared with either.
            database::drop_marked(&self.server.maintenance, &self.project.target, &scratch).await?;
            scratch = self.scratch(properties).await?;
            plain = self.project.database(&scratch.name);
            let mut ids = without::with_dependents(&self.plan.entries, not_made);
            ids.extend(&without.ids);
            interrupt.or(self.restore_plain(&plain, files.path(), &ids)).await?;
        }
        let plain = self.read_plain(&plain, &proof.not_valid).await?;
        database::drop_marked(&self.server.maintenance, &self.project.target, &scratch).await?;
        let restored = read_raw(&self.server.programs, &target.spec, &[]).await?;
        proof::prove_schema(&restored, &plain, &mut proof);
        if !proof.differences.is_empty() {
            return Err(Gate::ProofFailed(proof.differences).into());
        }
        for warning in &proof.warnings {
            self.operator.warn(warning);
        }
        self.close_ledger(run, restored).await?;
        for statement in &self.plan.not_believed {
            self.operator.warn(&format!("not set, because only the snapshot says so; when you want it: {statement}"));
        }
        let session = self.spec().connect("safe-migrate restore").await?;
        database::copy_properties(&session, &self.plan.fills, properties).await?;
        session.close().await;
        // With its settings it must still take a session.
        let session = self.spec().connect("safe-migrate restore").await?;
        let restored = DatabaseProperties::read(&session).await?;
        let differences = properties.differences(&session, &restored).await?;
        session.close().await;
        if !differences.is_empty() {
            return Err(Gate::ProofFailed(differences).into());
        }
        if !self.request.prove_later {
            database::limit_connections(&self.server.maintenance, &self.plan.fills, properties).await?;
        }
        interrupt.check()?;
        Ok(proof)
    }

    /// A database beside, for the schema that plain `pg_restore` makes of the same archive.
    ///
    /// It is made before anything runs beside it: a `CREATE DATABASE` that is given up half-way ends by itself later, and
    /// would leave what no clean-up has seen.
    async fn scratch(&self, properties: &DatabaseProperties) -> Result<MarkedDatabase, Error> {
        // Its name begins like that of a restored database, so that what drops the one drops the other, if we die here.
        let tail = hex::encode(rand::random::<[u8; 4]>());
        let name = format!("{}{tail}", database::restored_prefix(&self.plan.belongs_to));
        Ok(database::create(&self.server.maintenance, &name, properties, MarkKind::Unfinished, HostedOn::Shared)
            .await?)
    }

    /// Restores the archive there, without rows.
    async fn restore_plain(
        &self,
        scratch: &ConnectionSpec,
        files: &Path,
        left_out: &BTreeSet<u32>,
    ) -> Result<(), Error> {
        let programs = &self.server.programs;
        let bytes = self.reader.get_blob(&self.reader.manifest().schema).await?;
        let archive_file = &fill::write_file(files, "plain.dump", &bytes)?;
        let contents = archive::list(programs, archive_file).await?;
        let contents = fill::without_view_data(fill::without_entries(contents, left_out));
        let list = Some(fill::write_list(files, "plain.list", &contents)?);
        for section in [Section::PreData, Section::PostData] {
            let (section, list) = (Some(section), list.as_deref());
            archive::restore(programs, scratch, archive_file, section, list, Tablespaces::Default, 1).await?;
        }
        subscription::detach(&scratch.connect("safe-migrate proof").await?, scratch.database()).await?;
        Ok(())
    }

    /// Reads its schema, with the constraints that the rows do not pass as they had to be left.
    async fn read_plain(&self, scratch: &ConnectionSpec, left: &[NotValid]) -> Result<SchemaReading, Error> {
        let session = scratch.connect("safe-migrate proof").await?;
        deferred_checks::leave_not_valid(&session, left).await?;
        session.close().await;
        read_raw(&self.server.programs, scratch, &[]).await
    }

    /// The restored ledger knows nothing of what came after the snapshot: its unfinished runs end as `restored`, and
    /// this run records the schema as it is now, so that the next one does not call the round trip drift.
    async fn close_ledger(&self, run: &mut RunRecord, restored: SchemaReading) -> Result<(), Error> {
        let reading = restored.ignoring(&self.server.programs, &self.project.fingerprint_ignore);
        run.fingerprint_after = Some(json("the fingerprint", &reading.record)?);
        run_record::finish(run, "done", None);
        let session = self.spec().connect("safe-migrate restore").await?;
        match ledger::close_restored(&session, &self.project.ledger_owners, run).await {
            Ok(()) => ledger::keep_schema(&session, &run.id, &reading.to_kept()?).await?,
            // What runs at a write there would run as us. The store has the record all the same.
            Err(error @ LedgerError::NotOurs { .. }) => {
                self.operator.warn(&format!("the restored ledger does not know of this restore: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
        session.close().await;
        Ok(())
    }

    /// Leaves the proven database where it was asked for.
    pub(super) async fn put_in_place(
        &self,
        database: MarkedDatabase,
        run: &mut RunRecord,
    ) -> Result<Option<SwapReport>, Error> {
        let session = &self.server.maintenance;
        match &self.request.destination {
            Destination::Named(_) => {
                database.release(session).await?;
                Ok(None)
            }
            Destination::Beside => {
                database.change_kind(session, MarkKind::Proven).await?;
                Ok(None)
            }
            Destination::InPlace => {
                let proven = database.change_kind(session, MarkKind::Proven).await?;
                let live = self.plan.replaces.clone().unwrap_or_else(|| self.plan.of.clone());
                let swapped = swap::swap_proven(self.project, session, &live, &proven, run, self.operator).await;
                if swapped.is_err() {
                    self.operator.warn(&format!(
                        "\"{}\" is filled and proven, and waits: safe-migrate restore --swap {0}",
                        proven.name
                    ));
                }
                Ok(Some(swapped?))
            }
        }
    }
}
