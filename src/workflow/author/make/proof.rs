//! The new migrations are run before they are written: they must lead to what is wished for, and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::migration::{Direction, Migration, MigrationId, MigrationSet};
use crate::postgres::prepare_copy_session;
use crate::postgres::schema_record::SchemaRecord;
use crate::schema::Schema;

use super::super::super::Error;
use super::super::super::replay::{Built, Replay};
use super::{object_by_object, same, source_chain, unproven};

pub(super) struct Proof<'a> {
    pub(super) replay: &'a Replay<'a>,
    /// What the migrations that are there build, with their rows.
    pub(super) have: &'a Built,
    /// What is wished for: as it is, and in normal form.
    pub(super) want: (&'a Schema, &'a Schema),
}

impl Proof<'_> {
    /// Fails unless they lead to the wished schema.
    pub(super) async fn leads_there(&self, migrations: &[Arc<Migration>]) -> Result<(), Error> {
        let trial = self.replay.copy(self.have).await?;
        for one in migrations {
            if let Err(error) = self.replay.run(&trial, [one], Direction::Apply).await {
                let what = format!("PostgreSQL refused a step that make found: {}", source_chain(&error));
                return Err(unproven(&what, &one.text));
            }
        }
        self.is_wished(trial, "make does not know all that this change needs").await
    }

    /// Whether all migrations, in the order that their numbers and `depends:` give, build it from nothing: a new one of one app
    /// may stand before an old one of another. Where they do not, the apps whose old ones should come first, and the reason.
    pub(super) async fn builds_from_nothing(
        &self,
        there: &MigrationSet,
        migrations: &[Arc<Migration>],
    ) -> Result<Result<(), (BTreeSet<String>, Error)>, Error> {
        let all = there.files().chain(migrations).map(|one| Migration::clone(one)).collect();
        let set = MigrationSet::new(all)?;
        let all: Vec<Arc<Migration>> = set.iter().cloned().collect();
        let new: BTreeSet<&MigrationId> = migrations.iter().map(|one| &one.id).collect();
        let behind = all.iter().skip_while(|one| !new.contains(&one.id)).filter(|one| !new.contains(&one.id));
        let behind: BTreeSet<String> = behind.map(|one| one.id.app.clone()).collect();
        if behind.is_empty() {
            return Ok(Ok(()));
        }
        let trial = self.replay.empty().await?;
        if let Err(error) = self.replay.run(&trial, &all, Direction::Apply).await {
            let texts: Vec<&str> = migrations.iter().map(|one| one.text.as_str()).collect();
            let what = format!("from nothing, all migrations do not run: {}", source_chain(&error));
            return Ok(Err((behind, unproven(&what, &texts.join("\n")))));
        }
        let reached = self.is_wished(trial, "the new migrations lead there from what is, and not from nothing").await;
        match reached {
            Err(error @ Error::Gate(_)) => Ok(Err((behind, error))),
            other => other.map(Ok),
        }
    }

    async fn is_wished(&self, trial: Built, otherwise: &str) -> Result<(), Error> {
        let raw = self.replay.raw(&trial).await?;
        if same(&raw, self.want.0) {
            return self.replay.drop(trial).await;
        }
        let normal = self.replay.normalized(&trial).await?;
        let reached = self.replay.raw(&normal).await?;
        self.replay.drop(trial).await?;
        self.replay.drop(normal).await?;
        match reached.difference(self.want.1) {
            none if none.is_empty() => Ok(()),
            left => Err(unproven(otherwise, &object_by_object(&left))),
        }
    }

    /// The places of those whose way back does not lead back, with the reason.
    pub(super) async fn leads_back(&self, migrations: &[Arc<Migration>]) -> Result<Vec<(usize, String)>, Error> {
        // In normal form, because expressions that PostgreSQL printed are read back in that form.
        let mut trial = self.replay.normalized(self.have).await?;
        let mut broken = Vec::new();
        for (at, one) in migrations.iter().enumerate() {
            if one.down.is_none() {
                self.replay.run(&trial, [one], Direction::Apply).await?;
                continue;
            }
            let Some(why) = self.there_and_back(&trial, one).await? else { continue };
            broken.push((at, why));
            // Whatever it left: on from where it was to lead.
            self.replay.drop(trial).await?;
            trial = self.replay.normalized(self.have).await?;
            self.replay.run(&trial, &migrations[..=at], Direction::Apply).await?;
        }
        self.replay.drop(trial).await?;
        Ok(broken)
    }

    /// Runs one migration, back, and again; why its way back is none.
    async fn there_and_back(&self, trial: &Built, one: &Arc<Migration>) -> Result<Option<String>, Error> {
        let before = self.record(trial).await?;
        self.replay.run(trial, [one], Direction::Apply).await?;
        if let Err(error) = self.replay.run(trial, [one], Direction::Rollback).await {
            return Ok(Some(format!("PostgreSQL refused it ({})", source_chain(&error).replace('\n', " "))));
        }
        let left = before.difference(&self.record(trial).await?).objects;
        if let Some((object, how)) = left.first_key_value() {
            return Ok(Some(format!("after it {object} {how}")));
        }
        match self.replay.run(trial, [one], Direction::Apply).await {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(format!("after it the way up fails ({})", source_chain(&error).replace('\n', " ")))),
        }
    }

    async fn record(&self, built: &Built) -> Result<SchemaRecord, Error> {
        let session = self.replay.session(built).await?;
        prepare_copy_session(&session, None).await?;
        let record = SchemaRecord::read(&session, &SchemaRecord::prepare(&session).await?).await?;
        session.close().await;
        Ok(record)
    }
}
