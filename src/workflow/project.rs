//! What every workflow needs to know: which database, which migrations, which store, which limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::lint::Policy;
use crate::postgres::{
    ConnectionError, ConnectionSpec, Environment, ExecuteOptions, Programs, ServerClock, ServerIdentity, Session,
    is_behind_pooler,
};
use crate::store::{Store, StoreSettings};

use super::known_schema::KnownSchema;
use super::shadow::ShadowCache;
use super::{AfterFailure, Error, ProgramEnvironment};

/// The configured project, as the command line read it from the file, the flags and the environment.
#[derive(Clone, Debug)]
pub struct Project {
    /// The database whose schema is changed.
    pub target: ConnectionSpec,
    /// Name of the database for commands on databases, `postgres` unless configured.
    pub maintenance_database: String,
    /// Name under which its snapshots are kept; the database's name unless configured.
    pub source: String,
    /// Directory of the migrations.
    pub migrations_dir: PathBuf,
    /// App of migrations that lie directly in that directory.
    pub default_app: String,
    /// Where snapshots are kept.
    pub store: StoreSettings,
    /// Directory of the `pg_*` programs, when the search should not find them.
    pub bin_dir: Option<PathBuf>,
    /// Directory in which the shadow is made.
    pub shadow_dir: PathBuf,
    /// Bytes of restored shadows that are kept there for the next rehearsal; 0: none.
    pub shadow_max_cache: u64,
    /// Server on which shadows are made instead of a private one.
    pub shadow_server: Option<ConnectionSpec>,
    /// Whether a shadow that cannot be cut off from the network is used all the same.
    pub shadow_network: bool,
    /// Roles that may own the ledger besides those who are trusted anyway.
    pub ledger_owners: Vec<String>,
    /// Roles whose functions may run with our rights, besides superusers' and our own.
    pub trusted_owners: Vec<String>,
    /// What a shadow may do that nothing cuts off: names of extensions, and of rights.
    pub shadow_unconfined: Vec<String>,
    /// Parallel workers.
    pub jobs: usize,
    /// zstd level of chunks.
    pub compression: i32,
    /// Bytes of rows per second that a snapshot reads from production at most.
    pub max_rate: Option<u64>,
    /// How long a snapshot waits for a lock that others hold before it gives up and names them; not zero.
    pub lock_wait: Duration,
    /// How long others may wait for the locks of a snapshot; none: as long as it takes.
    pub max_block: Option<Duration>,
    /// Estimated bytes above which a snapshot asks first.
    pub ask_above: Option<u64>,
    /// Limits of each migration.
    pub execute: ExecuteOptions,
    /// What programs of migrations see of the environment.
    pub program_environment: ProgramEnvironment,
    /// A transaction older than this is named before a run starts.
    pub long_transaction: Duration,
    /// How old a stored rehearsal may be that stands for a new one.
    pub max_age: Duration,
    /// What a run does that fails after production was changed.
    pub on_failure: AfterFailure,
    /// What findings count for, and how much a run may cost.
    pub policy: Policy,
    /// Objects left out of fingerprints, as `schema.name` patterns.
    pub fingerprint_ignore: Vec<String>,
    /// What the command line read from the process environment.
    pub environment: Environment,
    /// Where this user's programs keep what they know; none: there is no home.
    pub state_dir: Option<PathBuf>,
    /// Who runs: user and machine, for the ledger.
    pub actor: Actor,
}

/// Who runs, on which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// User of the operating system.
    pub user: String,
    /// Name of the machine.
    pub host: String,
}

/// A connected project: the sessions and programs that a run on the server works with.
#[derive(Debug)]
pub struct Server {
    /// Session on the maintenance database.
    pub maintenance: Session,
    /// What the server says of itself.
    pub identity: ServerIdentity,
    /// Programs of the server's major version.
    pub programs: Programs,
    /// What it is there now.
    pub clock: ServerClock,
    /// The schema of the target, as it was read last.
    pub known: KnownSchema,
}

impl Project {
    /// The connection to another database of the same server.
    pub fn database(&self, name: &str) -> ConnectionSpec {
        self.target.with_database(name)
    }

    /// The same as [`Project::connect`] for what needs sessions of its own: a pooler is refused before anything is asked.
    ///
    /// In transaction mode the settings of our sessions would be lost, or left to sessions of the application.
    pub async fn connect_directly(&self) -> Result<Server, Error> {
        self.refuse_pooler().await?;
        self.connect().await
    }

    /// Connects to the maintenance database and finds the programs of the server's version.
    pub async fn connect(&self) -> Result<Server, Error> {
        let maintenance = self.maintenance_session().await?;
        let identity = ServerIdentity::read(&maintenance).await?;
        let programs = self.programs(identity.major())?;
        programs.check_not_older_than(identity.version_num)?;
        let clock = ServerClock::read(&maintenance).await?;
        Ok(Server { maintenance, identity, programs, clock, known: KnownSchema::default() })
    }

    /// A session on the maintenance database; `template1` where `postgres` was dropped.
    pub async fn maintenance_session(&self) -> Result<Session, Error> {
        let spec = self.database(&self.maintenance_database);
        match spec.connect("safe-migrate").await {
            Err(ConnectionError::DatabaseMissing { .. }) if self.maintenance_database == "postgres" => {
                Ok(self.database("template1").connect("safe-migrate").await?)
            }
            result => Ok(result?),
        }
    }

    /// Finds the programs of one major version.
    pub fn programs(&self, major: u32) -> Result<Programs, Error> {
        Ok(Programs::find(major, self.bin_dir.as_deref(), &self.environment)?)
    }

    /// Where restored shadows are kept. None: they are not, or they are databases on a named server, which others use too:
    /// there, filling its disk and stopping it are not ours to do.
    pub fn shadow_cache(&self) -> Option<ShadowCache> {
        let kept = self.shadow_server.is_none() && self.shadow_max_cache > 0;
        kept.then(|| ShadowCache::new(&self.shadow_dir, self.shadow_max_cache, self.jobs))
    }

    /// Where templates of empty private servers are kept.
    pub fn shadow_templates(&self) -> ShadowCache {
        ShadowCache::for_templates(&self.shadow_dir, self.jobs)
    }

    /// Removes what was kept of a snapshot that is deleted, whatever the configuration says of a cache now. What stays, an
    /// entry in use, goes as any other one does.
    pub fn shadow_cache_forget(&self, snapshot: &str) {
        let cache = ShadowCache::new(&self.shadow_dir, 0, 1);
        if let Err(error) = cache.forget(snapshot) {
            tracing::warn!(dir = %cache.dir().display(), %error, "the cached shadow of a snapshot was not removed");
        }
    }

    /// Refuses a pooler between us and the server: its sessions are not ours, so a lock taken in one proves nothing.
    async fn refuse_pooler(&self) -> Result<(), Error> {
        if is_behind_pooler(&self.target).await? { Err(Error::Pooler(self.target.display())) } else { Ok(()) }
    }

    /// Opens the store, making it when its root is empty.
    pub async fn open_or_create_store(&self) -> Result<Store, Error> {
        Ok(Store::open_or_create(&self.store).await?)
    }

    /// Opens a store that is there.
    pub async fn open_store(&self) -> Result<Store, Error> {
        Ok(Store::open(&self.store).await?)
    }
}
