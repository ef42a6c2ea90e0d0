//! The connection keywords of libpq, and what becomes of each here.

use super::ConnectionError;
use super::environment::Environment;
use std::collections::BTreeMap;

/// What becomes of a keyword.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// It has its effect.
    Used,
    /// It changes nothing that matters here.
    Ignored,
    /// Leaving it out would be less safe or not what was asked for; the text says what to do instead.
    Refused(&'static str),
}

use Treatment::{Ignored, Refused, Used};

const NO_GSS: &str = "GSSAPI is not supported; use password or certificate authentication";
const NO_CRL: &str = "certificate revocation lists are not supported; leave it out";
const NO_OAUTH: &str = "OAuth is not supported; use password_command to fetch a token as the password";

/// Keyword, environment variable, treatment. From the list in libpq's `PQconninfoOptions` (PostgreSQL 18).
const KEYWORDS: &[(&str, &str, Treatment)] = &[
    ("service", "PGSERVICE", Used),
    ("host", "PGHOST", Used),
    ("hostaddr", "PGHOSTADDR", Used),
    ("port", "PGPORT", Used),
    ("dbname", "PGDATABASE", Used),
    ("user", "PGUSER", Used),
    ("password", "PGPASSWORD", Used),
    ("passfile", "PGPASSFILE", Used),
    ("sslmode", "PGSSLMODE", Used),
    ("sslrootcert", "PGSSLROOTCERT", Used),
    ("sslcert", "PGSSLCERT", Used),
    ("sslkey", "PGSSLKEY", Used),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Used),
    ("sslnegotiation", "PGSSLNEGOTIATION", Used),
    ("channel_binding", "PGCHANNELBINDING", Used),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Used),
    ("options", "PGOPTIONS", Used),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Used),
    ("keepalives", "", Used),
    ("keepalives_idle", "", Used),
    ("keepalives_interval", "", Used),
    ("keepalives_count", "", Used),
    ("tcp_user_timeout", "", Used),
    ("gssencmode", "PGGSSENCMODE", Used),
    // Every connection is named by what it does, and speaks UTF-8.
    ("application_name", "PGAPPNAME", Ignored),
    ("fallback_application_name", "", Ignored),
    ("client_encoding", "PGCLIENTENCODING", Ignored),
    // With one host there is nothing to balance.
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", Ignored),
    ("sslcompression", "PGSSLCOMPRESSION", Ignored),
    ("sslsni", "PGSSLSNI", Ignored),
    ("krbsrvname", "PGKRBSRVNAME", Ignored),
    ("gsslib", "PGGSSLIB", Ignored),
    ("gssdelegation", "PGGSSDELEGATION", Ignored),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Ignored),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Ignored),
    ("sslpassword", "", Refused("encrypted keys are not supported; name a key without a password in sslkey")),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Refused("an upper limit is not supported; leave it out")),
    ("sslcertmode", "PGSSLCERTMODE", Refused("leave out sslcert and sslkey to send no certificate")),
    ("sslcrl", "PGSSLCRL", Refused(NO_CRL)),
    ("sslcrldir", "PGSSLCRLDIR", Refused(NO_CRL)),
    ("sslkeylogfile", "", Refused("writing out session keys is not supported")),
    (
        "require_auth",
        "PGREQUIREAUTH",
        Refused("it is not supported; use channel_binding=require or sslmode=verify-full"),
    ),
    ("requirepeer", "PGREQUIREPEER", Refused("checking the peer of a Unix socket is not supported")),
    ("requiressl", "PGREQUIRESSL", Refused("it is out of date; use sslmode=require")),
    ("replication", "", Refused("replication connections are not supported")),
    ("scram_client_key", "", Refused("use a password")),
    ("scram_server_key", "", Refused("use a password")),
    ("oauth_issuer", "", Refused(NO_OAUTH)),
    ("oauth_client_id", "", Refused(NO_OAUTH)),
    ("oauth_client_secret", "", Refused(NO_OAUTH)),
    ("oauth_scope", "", Refused(NO_OAUTH)),
];

/// The values of keywords, gathered from the most to the least binding place: the first that is set stays.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// Sets a keyword that a connection string or service file names; the last mention wins.
    pub(super) fn set(&mut self, keyword: &str, value: String) -> Result<(), ConnectionError> {
        let Some((name, _, treatment)) = KEYWORDS.iter().find(|(name, _, _)| *name == keyword) else {
            return Err(ConnectionError::UnknownKeyword { keyword: printable(keyword) });
        };
        match treatment {
            Used => {
                self.0.insert(name, value);
                Ok(())
            }
            Ignored => Ok(()),
            Refused(reason) => Err(ConnectionError::InvalidParameter { keyword: name, reason: (*reason).to_owned() }),
        }
    }

    /// Takes over what a less binding place says about keywords that are not set yet.
    pub(super) fn fill_from(&mut self, other: Parameters) {
        for (keyword, value) in other.0 {
            self.0.entry(keyword).or_insert(value);
        }
    }

    /// Reads the `PG*` variables.
    pub(super) fn from_environment(environment: &Environment) -> Result<Self, ConnectionError> {
        let mut parameters = Self::default();
        for (name, variable, _) in KEYWORDS {
            if let Some(value) = environment.get(variable) {
                parameters.set(name, value.to_owned())?;
            }
        }
        Ok(parameters)
    }

    /// The value of a keyword; an empty one counts as not given, as in libpq.
    pub(super) fn get(&self, keyword: &'static str) -> Option<&str> {
        self.0.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the keyword was given, even as empty.
    pub(super) fn contains(&self, keyword: &'static str) -> bool {
        self.0.contains_key(keyword)
    }
}

/// Every variable that libpq reads, for a program that must see ours and no others.
pub(super) fn environment_variables() -> impl Iterator<Item = &'static str> {
    const WITHOUT_KEYWORD: [&str; 5] = ["PGSERVICEFILE", "PGSYSCONFDIR", "PGDATESTYLE", "PGTZ", "PGGEQO"];
    KEYWORDS.iter().map(|(_, variable, _)| *variable).filter(|variable| !variable.is_empty()).chain(WITHOUT_KEYWORD)
}

/// Adds the reasons why GSSAPI settings cannot be kept, where they demand it.
pub(super) fn check_gss(parameters: &Parameters) -> Result<(), ConnectionError> {
    match parameters.get("gssencmode") {
        None | Some("disable" | "prefer") => Ok(()),
        Some(_) => Err(ConnectionError::InvalidParameter { keyword: "gssencmode", reason: NO_GSS.to_owned() }),
    }
}

/// A keyword as an error may show it: a misplaced piece of a password must not be.
fn printable(keyword: &str) -> String {
    let looks_like_one = keyword.len() <= 40 && keyword.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if looks_like_one && !keyword.is_empty() { keyword.to_owned() } else { "(not shown)".to_owned() }
}
