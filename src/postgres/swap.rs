//! The swap of names: a restored or kept database takes the place of the live one, in one transaction.
//!
//! `RENAME` takes an exclusive lock on the database before it looks for sessions, and a connection that is being made
//! waits for this lock and then finds the name gone (`RenameDatabase` in `dbcommands.c`, `InitPostgres`). So nothing
//! has to be closed first: sessions are ended while the rename waits for them, and whoever dies in the middle leaves
//! either the old state or the new one.

use std::time::Duration;

use super::kept::KeptDatabase;
use super::note::Note;
use super::{DatabaseError, Mark, ReplaceError, Session, quote_identifier};
use crate::fault;

/// The server's own limit for other sessions to go away is five seconds for each rename; this is how often it is tried.
const TRIES: u32 = 3;
const BETWEEN_ENDINGS: Duration = Duration::from_millis(50);
/// Times [`BETWEEN_ENDINGS`]: ten seconds, longer than a session of ours takes to notice that nobody listens.
const ENDING_IS_AWAITED: u32 = 200;

/// Two databases of one server, and the names that they are to have.
#[derive(Clone, Debug)]
pub struct Swap<'a> {
    /// The name that is to point at the other database.
    pub live: &'a str,
    /// OID of the database that has it now; none when there is no such database.
    pub live_oid: Option<u32>,
    /// The database that comes in.
    pub incoming: &'a str,
    /// Its OID.
    pub incoming_oid: u32,
    /// The name under which the old one is kept.
    pub kept: &'a str,
    /// The run that swaps.
    pub run: &'a str,
}

/// OID of a database; none when there is no such database.
pub async fn oid(session: &Session, name: &str) -> Result<Option<u32>, DatabaseError> {
    let row = session.query_opt("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&name]).await?;
    Ok(row.map(|row| row.get(0)))
}

impl Swap<'_> {
    /// Swaps. `session` and `ender` are two maintenance sessions: one renames, the other ends the sessions in between.
    pub async fn run(&self, session: &Session, ender: &Session) -> Result<(), ReplaceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let result = self.in_transaction(session, ender).await;
            if result.is_err() {
                // Outside a transaction this is a warning.
                session.batch_execute("ROLLBACK").await?;
            }
            match result {
                Err(ReplaceError::Database(error)) if error.has_sqlstate("55006") && tries < TRIES => {}
                result => return result,
            }
        }
    }

    async fn in_transaction(&self, session: &Session, ender: &Session) -> Result<(), ReplaceError> {
        let sql = self.sql(session).await?;
        let mut renaming = std::pin::pin!(session.batch_execute(&sql));
        let renamed = loop {
            let ending = async {
                // What cannot be ended shows in the rename's own error.
                let ended = end_sessions(ender, &[self.live, self.incoming]).await;
                tokio::time::sleep(BETWEEN_ENDINGS).await;
                ended
            };
            tokio::select! {
                biased;
                result = &mut renaming => break result,
                ended = ending => ended?,
            }
        };
        // Given up here, the last one may be on its way to the server still, and would end whoever comes after the swap.
        let answered = ender.batch_execute("").await;
        renamed?;
        answered?;
        // Names can change between a look and a rename; the transaction sees what it has really renamed.
        let now = oid(session, self.live).await?;
        let kept = oid(session, self.kept).await?;
        if now != Some(self.incoming_oid) || kept != self.live_oid {
            return Err(ReplaceError::Changed { database: self.live.to_owned() });
        }
        fault::point("swap.before-commit");
        session.batch_execute("COMMIT").await?;
        fault::point("swap.committed");
        if fault::is_off("off.keep-old") {
            session.batch_execute(&format!("DROP DATABASE {}", quote_identifier(self.kept))).await?;
        }
        Ok(())
    }

    /// Whether the names are swapped, asked on a new session when the one that swapped (`backend`) was lost: waits until
    /// the server has ended that one, because a commit that was sent may still happen.
    pub async fn is_done(&self, session: &Session, backend: i32) -> Result<bool, DatabaseError> {
        let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND datname IS NOT NULL)";
        for _ in 0..ENDING_IS_AWAITED {
            if !session.query_one(there, &[&backend]).await?.get::<_, bool>(0) {
                break;
            }
            tokio::time::sleep(BETWEEN_ENDINGS).await;
        }
        Ok(oid(session, self.live).await? == Some(self.incoming_oid))
    }

    async fn sql(&self, session: &Session) -> Result<String, ReplaceError> {
        let [live, incoming, kept] = [self.live, self.incoming, self.kept].map(quote_identifier);
        let mut sql = vec![
            "BEGIN".to_owned(),
            // The databases may be set to lose the last commits in a crash; not this one.
            "SET LOCAL synchronous_commit = on".to_owned(),
            "SET LOCAL lock_timeout = '10s'".to_owned(),
        ];
        if let Some(oid) = self.live_oid {
            let evidence = KeptDatabase {
                name: self.kept.to_owned(),
                oid,
                run: self.run.to_owned(),
                live: self.live.to_owned(),
                successor: self.incoming_oid,
            };
            sql.push(format!("ALTER DATABASE {live} RENAME TO {kept}"));
            sql.push(evidence.set_sql(Note::Mark.place(session).await?));
        }
        // The mark goes with the rename: one that outlived it would make the live database look like a stray.
        sql.push(Mark::reset_sql(session, self.incoming).await?);
        sql.push(format!("ALTER DATABASE {incoming} RENAME TO {live}"));
        Ok(sql.join(";"))
    }
}

/// Ends the sessions of these databases that this role may end.
async fn end_sessions(session: &Session, databases: &[&str]) -> Result<(), DatabaseError> {
    let sql = format!(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
          WHERE a.datname = ANY ($1) AND a.pid <> pg_catalog.pg_backend_pid() AND {MAY_END}"
    );
    session.query(&sql, &[&databases]).await?;
    Ok(())
}

// As in pg_signal_backend() of signalfuncs.c.
pub(super) const MAY_END: &str = "(SELECT me.rolsuper OR (NOT coalesce(they.rolsuper, true)
           AND (pg_catalog.pg_has_role(they.oid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))
       FROM pg_catalog.pg_roles me LEFT JOIN pg_catalog.pg_roles they ON they.oid = a.usesysid
      WHERE me.rolname = current_user)";

/// What stands in the way of a swap, in the words of the operator; empty when nothing does.
pub async fn obstacles(session: &Session, live: &str) -> Result<Vec<String>, DatabaseError> {
    let sql = format!(
        "SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || database
           FROM pg_catalog.pg_prepared_xacts WHERE database = $1
         UNION ALL
         SELECT 'replication slot ' || slot_name || ' of ' || database
           FROM pg_catalog.pg_replication_slots WHERE database = $1
         UNION ALL
         SELECT 'subscription ' || s.subname FROM pg_catalog.pg_subscription s
           JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1
         UNION ALL
         SELECT 'session ' || a.pid || ' of role ' || quote_ident(a.usename)
                || coalesce(' (' || nullif(a.application_name, '') || ')', '') || ', which this role may not end'
           FROM pg_catalog.pg_stat_activity a WHERE a.datname = $1 AND a.usename IS NOT NULL AND NOT {MAY_END}"
    );
    let rows = session.query(&sql, &[&live]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The physical standbys that are connected: their sessions go on reading the old database, whatever its name, and
/// cannot be ended from here.
pub async fn standbys(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT coalesce(nullif(r.application_name, ''), 'no name') || coalesce(' at ' || host(r.client_addr), '')
               FROM pg_catalog.pg_stat_replication r
              WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s
                                 WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
              ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
