//! What can go wrong with a store, by meaning.

use std::io;

use super::ObjectKey;

/// The cause of an error, as the operating system or the S3 client tells it.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A failed operation on a store. Every message names the place; none holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The object is not there.
    #[error("{location}/{key} is not there")]
    NotFound {
        /// The root of the store.
        location: String,
        /// The key of the object.
        key: String,
    },
    /// The store refused us: rights of a directory, a wrong or missing credential, a bucket policy.
    #[error("{target}: not allowed to {action} ({detail})")]
    PermissionDenied {
        /// The path or address that was refused.
        target: String,
        /// What was tried, such as `write` or `list`.
        action: &'static str,
        /// What the store said.
        detail: String,
        /// What to check.
        advice: &'static str,
    },
    /// No answer: wrong address, connection refused, time-out, a connection that broke.
    #[error("{location} cannot be reached")]
    Unreachable {
        /// The root of the store, with its endpoint.
        location: String,
        /// What the client saw.
        source: Cause,
    },
    /// The bucket does not exist. It is never created here.
    #[error("{location}: there is no bucket `{bucket}`")]
    NoSuchBucket {
        /// The root of the store, with its endpoint.
        location: String,
        /// The name of the bucket.
        bucket: String,
    },
    /// The place holds no `safe-migrate.json`.
    #[error("{location} is not a safe-migrate store: {reason}")]
    NotAStore {
        /// The root that was asked for.
        location: String,
        /// What is there instead.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// Another store than before lies at the address, on a machine that believes only what is signed.
    #[error("{location} is another store than before: its id is {found}, and this user knows it as {known}")]
    OtherStore {
        /// The root of the store.
        location: String,
        /// The id that it had.
        known: String,
        /// The id that it has.
        found: String,
    },
    /// Something in the store was written by a newer version.
    #[error("{location}/{key} needs a newer safe-migrate: it {needs}, this version {supports}")]
    NewerFormat {
        /// The root of the store.
        location: String,
        /// The key of the object.
        key: String,
        /// What the object asks for, such as `has format 2`.
        needs: String,
        /// What this version can do, such as `reads format 1`.
        supports: String,
    },
    /// The configured address cannot be one of a store.
    #[error("`{url}` is not the address of a store: {reason}")]
    InvalidUrl {
        /// The address, without any password in it.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Settings that contradict each other.
    #[error("the settings of the store {location} do not fit together: {reason}")]
    InvalidSettings {
        /// The address of the store.
        location: String,
        /// Which settings, and why.
        reason: String,
    },
    /// A name that no object may have.
    #[error("`{key}` cannot be the name of an object: letters, digits, `.`, `_`, `-` in parts separated by `/` only")]
    InvalidKey {
        /// The name.
        key: String,
    },
    /// The disk or the quota is full.
    #[error("{target}: no space left")]
    NoSpace {
        /// The path or address that was written.
        target: String,
    },
    /// The operating system failed on a path.
    #[error("{path}: cannot {action}")]
    Io {
        /// The path.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The S3 service answered with an error that has no meaning of its own here.
    #[error("{target}: cannot {action}: the service answered {code}: {message}")]
    Service {
        /// The address of the object.
        target: String,
        /// What was tried.
        action: &'static str,
        /// The code of the service, such as `SlowDown`, with the HTTP status.
        code: String,
        /// The text of the service.
        message: String,
        /// Whether the service may answer otherwise a moment later.
        transient: bool,
    },
    /// An object is there and is not what it should be.
    #[error("{location}/{key} is damaged: {reason}")]
    Damaged {
        /// The root of the store.
        location: String,
        /// The key of the object.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// An object has more bytes than it may.
    pub(super) fn too_large(location: String, key: &ObjectKey, largest: u64) -> Self {
        let reason = format!("it has more than {largest} bytes, which no such object has");
        Self::Damaged { location, key: key.to_string(), reason }
    }

    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Unreachable { .. } => false,
            Self::Service { transient, .. } => !transient,
            Self::Io { source, .. } => !matches!(source.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut),
            _ => true,
        }
    }

    /// Whether the configuration is at fault: nothing was asked of any store.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::InvalidUrl { .. } | Self::InvalidSettings { .. })
    }

    /// What to do next, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PermissionDenied { advice, .. } | Self::NotAStore { advice, .. } => advice,
            Self::Unreachable { .. } => {
                "check the address and the endpoint of the store, the network, and that the service runs"
            }
            Self::NoSuchBucket { .. } => "create the bucket, or correct the address of the store",
            Self::NewerFormat { .. } => "upgrade safe-migrate",
            Self::OtherStore { .. } => {
                "somebody may have put another store in its place; when you made it anew yourself: --accept-unsigned WHY, once"
            }
            Self::InvalidUrl { .. } => "write s3://BUCKET/PREFIX, or file:// and an absolute path",
            Self::InvalidSettings { .. } => "correct [store] in safe-migrate.toml",
            Self::NoSpace { .. } => "free some space, or use another store",
            Self::Service { transient: true, .. } => {
                "look at the log of the service, and whether it takes writes; then run the command again"
            }
            Self::NotFound { .. } | Self::Damaged { .. } => "put the object back from a copy of the store",
            Self::Io { .. } => "check the directory, its file system and its permissions",
            Self::InvalidKey { .. } | Self::Service { .. } => "`safe-migrate doctor` checks the store",
        }
    }

    /// Whether it says that the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(transient: bool) -> StoreError {
        let (code, message) = ("SlowDown (503)".to_owned(), "reduce your rate".to_owned());
        StoreError::Service { target: "s3://b/k".to_owned(), action: "write", code, message, transient }
    }

    fn io(kind: io::ErrorKind) -> StoreError {
        StoreError::Io { path: "/s".to_owned(), action: "read", source: kind.into() }
    }

    #[test]
    fn only_what_may_change_by_itself_is_not_permanent() {
        let unreachable = StoreError::Unreachable { location: "s3://b".to_owned(), source: "refused".into() };
        assert!(!unreachable.is_permanent());
        assert!(!service(true).is_permanent());
        assert!(!io(io::ErrorKind::TimedOut).is_permanent());

        assert!(service(false).is_permanent());
        assert!(io(io::ErrorKind::InvalidData).is_permanent());
        assert!(StoreError::NoSpace { target: "/s".to_owned() }.is_permanent());
        assert!(StoreError::NotFound { location: "/s".to_owned(), key: "k".to_owned() }.is_permanent());
    }
}
