//! A second copy of the shadow, on which the plan is tried in one transaction.

use std::sync::atomic::Ordering;

use crate::postgres::database::HostedOn;
use crate::postgres::{ConnectionSpec, MigratingSession, Session, database, keep_session};

use super::super::Error;
use super::{Home, Scratch, Shadow};

impl Shadow {
    /// Copies the shadow database as it is now, with its mark and its settings; dropped by [`Shadow::drop_scratch`].
    /// Nobody may be connected to the shadow.
    pub async fn copy(&self) -> Result<Scratch, Error> {
        let number = self.scratch_count.fetch_add(1, Ordering::Relaxed);
        let database = match &self.home {
            Home::Private(..) => {
                let name = format!("safe_migrate_copy_{number}");
                database::create_copy(&self.maintenance, &name, &self.database, HostedOn::Private).await?
            }
            Home::Named(server, _) => server.second_copy(&self.maintenance, number, &self.database).await?,
        };
        let copy = Scratch { spec: self.spec_of(&database.name), database };
        let session = copy.spec.connect("safe-migrate shadow").await?;
        database::copy_properties(&session, &copy.database.name, &self.properties).await?;
        session.close().await;
        Ok(copy)
    }

    /// Connects to a copy as production's role, as [`Shadow::connect_as`] does to the shadow. Also the connection.
    pub async fn connect_to_copy(
        &self,
        copy: &Scratch,
        role: &str,
    ) -> Result<(MigratingSession, ConnectionSpec), Error> {
        let name = &copy.database.name;
        let spec = match &self.home {
            Home::Private(cluster, _) => cluster.spec(name).with_user(role),
            Home::Named(server, _) => server.spec_as(name, role),
        };
        let session = spec.connect_to_migrate("safe-migrate rehearsal").await?;
        self.check_copy(copy, &session).await?;
        if matches!(self.home, Home::Named(..)) {
            keep_session(&session).await?;
        }
        Ok((session, spec))
    }

    /// As [`Shadow::check`], of a copy.
    pub async fn check_copy(&self, copy: &Scratch, session: &Session) -> Result<(), Error> {
        if let Home::Named(server, _) = &self.home {
            server.check(session).await?;
        }
        Ok(copy.database.check(session).await?)
    }
}
