//! Whether a connection pooler stands between us and the server.

use tokio_postgres::SimpleQueryMessage;

use super::{ConnectionError, ConnectionSpec, describe};

/// A setting that every server from version 14 reports at the login, and that a pooler does not hand on.
const REPORTED: &str = "default_transaction_read_only";

/// Asks whether the sessions of `spec` are really ours, or a pooler's that it lends out.
///
/// Start-up options of our own are sent and read back. PgBouncer refuses them (`unsupported startup parameter`) or, with
/// `ignore_startup_parameters`, loses them: in transaction and statement mode, busy or idle, and in session mode too. A
/// backend id proves nothing: an idle PgBouncer kept one backend for twenty statements and let two clients hold one
/// advisory lock.
///
/// A pooler in session mode is one as well. An ordinary role cannot ask for the mode (`SHOW POOLS` is for PgBouncer's
/// admins), the options of the connection string are lost there too, and a run needs several sessions at once, which a
/// small pool does not have (seen with PgBouncer 1.18).
///
/// The first of the two settings is in the answer to the login, so a pooler is found although all of its servers are in
/// use and no query of ours would get through; the second one is asked for, for a pooler that keeps track of the first.
pub async fn is_behind_pooler(spec: &ConnectionSpec) -> Result<bool, ConnectionError> {
    let nonce = hex::encode(rand::random::<[u8; 8]>());
    let probe = spec.with_setting(REPORTED, "on").with_setting("safe_migrate.probe", &nonce);
    let session = match probe.log_in("safe-migrate probe").await {
        Ok(session) => session,
        Err(error) if error.is_refused_option() => return Ok(true),
        Err(error) => return Err(error),
    };
    if session.parameter(REPORTED).is_some_and(|value| value != "on") {
        return Ok(true);
    }
    // One simple query: in statement mode a prepared statement would be looked for on another server than its own.
    let asked = session.simple_query("SELECT pg_catalog.current_setting('safe_migrate.probe', true)");
    // An error is no answer: it must not pass for "no pooler".
    let answer = probe.within_limit(asked).await?;
    let answer = answer.map_err(|error| ConnectionError::Other { target: spec.display(), source: describe(&error) })?;
    let found = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(found != Some(nonce.as_str()))
}
