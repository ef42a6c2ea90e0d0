//! Production's schema as a run read it last. It is not dumped again while the catalogs are the same ([`CatalogWitness`]
//! says why that is enough).

use std::sync::{Arc, Mutex, PoisonError};

use crate::postgres::{CatalogWitness, ExportedSnapshot, Session};

use super::project::Server;
use super::schema_reading::{SchemaReading, read_as_seen};
use super::{Error, Project};

/// One reading, and what the catalogs held when it was begun.
#[derive(Debug)]
struct Known {
    witness: CatalogWitness,
    /// `[fingerprint] ignore`.
    ignored: Vec<String>,
    reading: SchemaReading,
}

/// The last reading of a run.
#[derive(Debug, Default)]
pub struct KnownSchema(Mutex<Option<Arc<Known>>>);

impl KnownSchema {
    fn last(&self) -> Option<Arc<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known));
    }
}

impl Server {
    /// Reads production's schema at the beginning of a run that asks for it again later. `session` is on production, and
    /// in no transaction.
    pub async fn read_schema(&self, project: &Project, session: &Session) -> Result<SchemaReading, Error> {
        self.dumped(project, (session, None), witness_of(session, None).await).await
    }

    /// The schema as it is now.
    pub async fn read_schema_again(&self, project: &Project, session: &Session) -> Result<SchemaReading, Error> {
        let Some(known) = self.known.last() else { return self.dumped(project, (session, None), None).await };
        let witness = witness_of(session, Some(&known.witness)).await;
        self.unless_known(project, (session, None), &known, witness).await
    }

    /// The schema as an exported snapshot sees it.
    pub async fn read_schema_under(
        &self,
        project: &Project,
        exported: &ExportedSnapshot,
    ) -> Result<SchemaReading, Error> {
        let seen = (&*exported.session, Some(exported.name.as_str()));
        let Some(known) = self.known.last() else { return self.dumped(project, seen, None).await };
        // Its transaction would not survive an error, so none is passed over.
        let witness = CatalogWitness::read(&exported.session, Some(&known.witness)).await?;
        self.unless_known(project, seen, &known, witness).await
    }

    async fn unless_known(
        &self,
        project: &Project,
        seen: (&Session, Option<&str>),
        known: &Known,
        witness: Option<CatalogWitness>,
    ) -> Result<SchemaReading, Error> {
        if witness.as_ref() == Some(&known.witness) && known.ignored == project.fingerprint_ignore {
            tracing::debug!("the catalogs are as they were, and the schema is not dumped again");
            return Ok(known.reading.clone());
        }
        self.dumped(project, seen, witness).await
    }

    /// The witness is from before the dump: what is changed during a dump is found later.
    async fn dumped(
        &self,
        project: &Project,
        seen: (&Session, Option<&str>),
        witness: Option<CatalogWitness>,
    ) -> Result<SchemaReading, Error> {
        let ignored = project.fingerprint_ignore.clone();
        let reading = read_as_seen(&self.programs, &project.target, seen, &ignored).await?;
        if let Some(witness) = witness {
            self.known.keep(Known { witness, ignored, reading: reading.clone() });
        }
        Ok(reading)
    }
}

/// None also where the question fails: the dump says then what is wrong, or goes through.
async fn witness_of(session: &Session, earlier: Option<&CatalogWitness>) -> Option<CatalogWitness> {
    match CatalogWitness::read(session, earlier).await {
        Ok(witness) => witness,
        Err(error) => {
            tracing::debug!(%error, "the catalogs give no witness");
            None
        }
    }
}
