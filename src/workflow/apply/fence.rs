//! The fence: raised before the snapshot, so that a restore of it would lose nothing; down after the migrations.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::postgres::fence::{self, ClosedFence, FenceError, Holder};
use crate::postgres::{DatabaseError, ExecuteError, Session};
use crate::report::{format_duration, format_list, format_things};

use super::super::{Error, Gate};
use super::fence_refusals::{refuse_prepared, refuse_unendable, still_held};
use super::{Fence, Run};

/// How often others may stand in the way before their sessions are ended.
const VAIN_ATTEMPTS: u32 = 2;
/// How long sessions may take to end when the database is closed.
const ENDING: Duration = Duration::from_secs(10);
/// How often it is looked whether a migration waits for one who waits for the fence.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A fence that stands. The migrating session holds the locks; they go with it.
#[derive(Debug)]
pub(super) struct RaisedFence {
    kind: Fence,
    locked: Vec<(u32, String)>,
    large_objects: bool,
    /// The server's snapshot before large objects were copied.
    objects_before: Option<String>,
    since: Instant,
    closed: Mutex<Option<ClosedFence>>,
    /// Numbers in the reports of deadlocks.
    deadlocked: Mutex<Vec<i32>>,
    down: AtomicBool,
}

impl Run<'_> {
    /// Keeps writers out, when that was asked for.
    pub(super) async fn raise_fence(&self) -> Result<Option<RaisedFence>, Error> {
        let Some(kind) = self.request.fence else { return Ok(None) };
        self.refuse_programs()?;
        match kind {
            Fence::Writers => self.refuse_outside_steps()?,
            Fence::Closed => self.refuse_without_rights().await?,
        }
        let aside = self.aside();
        let objects = fence::large_objects(aside).await?;
        if objects.present && !objects.lockable {
            self.operator.warn(
                "large objects are NOT fenced: only a superuser may lock them; what is written to them after the \
                 snapshot, a restore would lose",
            );
        }
        let session = &self.prepared.session;
        fence::begin(session).await?;
        let since = Instant::now();
        let locked = self.lock(aside, objects.lockable).await?;
        let objects_before = self.large_objects_before(aside).await?;
        crate::fault::point("fence.locked");
        self.operator.step(&format!(
            "fence: {} locked against writers; readers go on, and sequences may still advance",
            format_things((locked.len() - usize::from(objects.lockable)) as u64, "table")
        ));
        Ok(Some(RaisedFence {
            kind,
            locked,
            large_objects: objects.lockable,
            objects_before,
            since,
            closed: Mutex::default(),
            deadlocked: Mutex::default(),
            down: AtomicBool::new(false),
        }))
    }

    /// A session for reads beside the transaction of the fence: there, an error would end it, statistics would stand
    /// still, and locks would be kept.
    pub(super) fn aside(&self) -> &Session {
        &self.prepared.aside
    }

    /// Whether all migrations run in the one transaction of the fence.
    pub(super) fn is_one_transaction(&self) -> bool {
        self.request.fence == Some(Fence::Writers)
    }

    async fn lock(&self, aside: &Session, large_objects: bool) -> Result<Vec<(u32, String)>, Error> {
        let (session, timeout) = (&self.prepared.session, self.project.execute.lock_timeout);
        if crate::fault::is_off("off.fence") {
            return Ok(fence::tables(aside, large_objects).await?);
        }
        let tables = async || fence::tables(aside, large_objects).await;
        self.insist(aside, tables, async || fence::lock(session, aside, large_objects, timeout).await).await
    }

    /// Tries for a lock again and again; who stands in the way is named, and ended when that was in vain.
    async fn insist<T>(
        &self,
        aside: &Session,
        tables: impl AsyncFn() -> Result<Vec<(u32, String)>, DatabaseError>,
        lock: impl AsyncFn() -> Result<T, FenceError>,
    ) -> Result<T, Error> {
        let mut attempt = 0;
        loop {
            self.interrupt.check()?;
            let tables = tables().await?;
            refuse_prepared(self.project.target.database(), &fence::prepared(aside, &tables).await?)?;
            let ending = attempt >= VAIN_ATTEMPTS;
            // Writers of several tables hold one and want another that is ours by now: that ends in a deadlock each time.
            let locked = match ending {
                true => self.while_ending_deadlocks(aside, None, lock()).await,
                false => lock().await,
            };
            let error = match locked {
                Ok(locked) => return Ok(locked),
                Err(FenceError::Contended(error)) => error,
                Err(error) => return Err(self.not_locked(error)),
            };
            attempt += 1;
            let holders = fence::holders(aside, &tables, self.prepared.session.backend_pid()).await?;
            if attempt > self.project.execute.retries.max(VAIN_ATTEMPTS + 1) {
                return Err(still_held(&error, &holders));
            }
            let ended = self.make_way(aside, &tables, &holders, attempt >= VAIN_ATTEMPTS).await?;
            if !ended {
                tokio::time::sleep(Duration::from_millis(100) * attempt.min(20)).await;
            }
        }
    }

    /// Those who write large objects now have ended at the moment that is returned; none: there is nothing to fence.
    async fn large_objects_before(&self, aside: &Session) -> Result<Option<String>, Error> {
        let objects = fence::large_objects(aside).await?;
        if !objects.present || !objects.lockable || crate::fault::is_off("off.fence") {
            return Ok(None);
        }
        Ok(Some(self.lock_bytes(aside, false).await?))
    }

    async fn lock_bytes(&self, aside: &Session, keep: bool) -> Result<String, Error> {
        let (session, timeout) = (&self.prepared.session, self.project.execute.lock_timeout);
        let table = async || Ok(fence::bytes_table());
        self.insist(aside, table, async || fence::lock_bytes(session, aside, keep, timeout).await).await
    }

    /// Locks the bytes of large objects, now that the snapshot has read them, and stops when they were written meanwhile.
    pub(super) async fn fence_large_objects(&self) -> Result<(), Error> {
        let Some(before) = self.fence.and_then(|fence| fence.objects_before.as_ref()) else {
            return Ok(());
        };
        self.operator.step("fence: large objects are locked too, now that they are copied; their readers wait as well");
        self.lock_bytes(self.aside(), true).await?;
        let pieces = fence::pieces_written_since(self.aside(), before).await?;
        if pieces == 0 {
            return Ok(());
        }
        Err(Gate::Fence {
            message: format!(
                "large objects were written while the snapshot was being taken ({}): what reads them takes the same lock \
                 as what writes them, so no lock keeps writers out as long as they are copied",
                format_things(pieces, "piece")
            ),
            hint: "stop what writes large objects, and run the command again".to_owned(),
        }
        .into())
    }

    /// Names those who hold locks, and ends them when it is time; whether somebody was ended.
    async fn make_way(
        &self,
        aside: &Session,
        tables: &[(u32, String)],
        holders: &[Holder],
        ending: bool,
    ) -> Result<bool, DatabaseError> {
        for holder in holders {
            let what = match (ending, holder.may_end) {
                (false, _) => "is in the way of the fence",
                (true, true) => "is still in the way of the fence and is ended",
                (true, false) => "is still in the way of the fence, and this role may not end it",
            };
            self.operator.warn(&format!("{what}: {}", holder.words));
        }
        if ending {
            let pids: Vec<i32> = holders.iter().filter_map(|holder| holder.pid).collect();
            fence::end(aside, tables, &pids).await?;
        }
        // Then without a pause: who comes next waits behind us.
        Ok(ending && holders.iter().any(|holder| holder.may_end))
    }

    fn not_locked(&self, error: FenceError) -> Error {
        match error {
            FenceError::Database(error) if error.has_sqlstate("42501") => Gate::Fence {
                message: format!("the tables cannot be locked against writers: {}", error.message),
                hint: "connect as the owner of the tables, or GRANT UPDATE on them".to_owned(),
            }
            .into(),
            FenceError::Database(error) => error.into(),
            error => Gate::Fence {
                message: format!("the tables cannot be locked against writers: {error}"),
                hint: "run the command again when fewer tables are made and dropped".to_owned(),
            }
            .into(),
        }
    }

    /// A table that was made since is not fenced.
    pub(super) async fn refuse_unfenced_tables(&self) -> Result<(), Error> {
        let Some(fence) = self.fence else { return Ok(()) };
        let now = fence::tables(self.aside(), fence.large_objects).await?;
        let new: Vec<&str> =
            now.iter().filter(|table| !fence.locked.contains(table)).map(|(_, name)| name.as_str()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let database = self.project.target.database().to_owned();
        let what = format!("tables were made behind the fence: {}", format_list(&new));
        Err(Gate::ChangedMeanwhile { database, what }.into())
    }

    /// Closes the database and ends the other sessions; then the locks are given back, for which steps outside
    /// transactions would wait. From here on no new connection is made until [`Run::let_go`].
    pub(super) async fn close_database(&self, run: &str) -> Result<(), Error> {
        let Some(fence) = self.fence.filter(|fence| fence.kind == Fence::Closed) else { return Ok(()) };
        let (maintenance, target) = (&self.prepared.server.maintenance, self.project.target.database());
        let session = &self.prepared.session;
        if !crate::fault::is_off("off.fence") {
            let closed = ClosedFence::of(maintenance, target, run, None).await?;
            // Known before it is done: whatever becomes of the answer, it is lifted.
            *fence.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(closed.clone());
            closed.close(maintenance).await?;
            let ours = [session.backend_pid(), self.aside().backend_pid()];
            refuse_unendable(&fence::end_sessions(maintenance, target, &ours, ENDING).await?)?;
            self.operator.step(&format!("fence: \"{target}\" is closed, and all other sessions are ended"));
        }
        fence::end_transaction(session).await?;
        crate::fault::point("fence.closed");
        Ok(())
    }

    /// Takes the fence down, whatever became of the run. A fence that cannot be lifted is said, with the way to do it.
    pub(super) async fn let_go(&self) {
        let Some(fence) = self.fence.filter(|fence| !fence.down.swap(true, Ordering::Relaxed)) else { return };
        let session = &self.prepared.session;
        if !session.is_closed()
            && let Err(error) = fence::end_transaction(session).await
        {
            self.operator.warn(&format!("the fence's transaction ends with the connection: {error}"));
        }
        let closed = fence.closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(closed) = closed {
            crate::fault::point("fence.before-lift");
            if let Err(error) = self.lift(&closed).await {
                self.operator.warn(&format!(
                    "\"{}\" still takes no connections, because it could not be opened again: {error}; the next \
                     safe-migrate command opens it, or a superuser: {}",
                    self.project.target.database(),
                    closed.lift_by_hand()
                ));
                return;
            }
            crate::fault::point("fence.lifted");
            self.operator.step(&format!("fence: \"{}\" is open again", self.project.target.database()));
        }
        self.operator.step(&format!("fence: down after {}", format_duration(fence.since.elapsed())));
    }

    async fn lift(&self, closed: &ClosedFence) -> Result<(), Error> {
        match closed.lift(&self.prepared.server.maintenance).await {
            Ok(_) => Ok(()),
            // The session may be lost, and the right to lift is not.
            Err(_) => {
                let again = self.project.maintenance_session().await?;
                closed.lift(&again).await?;
                Ok(())
            }
        }
    }

    /// Whether the database is closed by this run at this moment.
    pub(super) fn is_closed(&self) -> bool {
        self.fence.is_some_and(|fence| fence.closed.lock().unwrap_or_else(PoisonError::into_inner).is_some())
    }

    /// Remembers whom a migration was in a deadlock with, for [`Run::ending_deadlocks`].
    pub(super) fn note_deadlock(&self, error: &ExecuteError) {
        if let Some(fence) = self.fence {
            fence.deadlocked.lock().unwrap_or_else(PoisonError::into_inner).extend(error.deadlocked_with());
        }
    }

    /// Runs a migration in the transaction of the fence to its end. Readers that turned writers behind the fence, and
    /// hold what the migration wants, are ended: both would wait for ever.
    pub(super) async fn ending_deadlocks<T>(&self, step: impl Future<Output = T>) -> T {
        match self.fence.filter(|fence| fence.kind == Fence::Writers) {
            Some(fence) => self.while_ending_deadlocks(self.aside(), Some(&fence.deadlocked), step).await,
            None => step.await,
        }
    }

    async fn while_ending_deadlocks<T>(
        &self,
        aside: &Session,
        named: Option<&Mutex<Vec<i32>>>,
        step: impl Future<Output = T>,
    ) -> T {
        let mut step = Box::pin(step);
        loop {
            tokio::select! {
                result = &mut step => return result,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let named = named.map(|named| std::mem::take(&mut *named.lock().unwrap_or_else(PoisonError::into_inner)));
            // Not dropped in the middle, and no reason to stop when it fails: then the server decides.
            let ours = self.prepared.session.backend_pid();
            for words in fence::end_deadlocked(aside, ours, &named.unwrap_or_default()).await.unwrap_or_default() {
                self.operator.warn(&format!("waits for the fence while the fence waits for it, and is ended: {words}"));
            }
        }
    }
}
