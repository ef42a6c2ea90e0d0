//! The settings of every session that copies data out, copies it in, or reads it back for the proof.
//!
//! The text of a value depends on the session that prints it; a hash of rows means something only when every session
//! prints alike (DESIGN: "Taking a snapshot").

use super::{DatabaseError, Session};

const COPY_SESSION: &str = "
    SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres';
    SET TimeZone = 'UTC';
    SET extra_float_digits = 3;
    SET bytea_output = 'hex';
    SET xmlbinary = 'base64';
    SET xmloption = 'content';
    SET synchronize_seqscans = off;
    SET row_security = off;
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET idle_session_timeout = 0;
    SET max_parallel_workers_per_gather = 0;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET default_transaction_deferrable = off;
    SET quote_all_identifiers = off;
    SET standard_conforming_strings = on;
    SET array_nulls = on;
    SET transform_null_equals = off;
    SET backslash_quote = safe_encoding;
    SET search_path = '';
    SET check_function_bodies = off";

/// Puts `session` into the state in which rows are copied and hashed. `lc_monetary` is the snapshot's, because the
/// text of a `money` value depends on it.
pub async fn prepare_copy_session(session: &Session, lc_monetary: Option<&str>) -> Result<(), DatabaseError> {
    session.batch_execute(COPY_SESSION).await?;
    if session.server_version_num() >= 140_000 {
        // A killed run must not leave server processes behind that keep its locks.
        session.batch_execute("SET client_connection_check_interval = '5s'").await?;
    }
    if session.server_version_num() >= 170_000 {
        session.batch_execute("SET transaction_timeout = 0").await?;
    }
    if let Some(value) = lc_monetary {
        session.execute("SELECT pg_catalog.set_config('lc_monetary', $1, false)", &[&value]).await?;
    }
    Ok(())
}
