//! Who runs the private server: PostgreSQL refuses to run as root.

use super::ClusterError;
use crate::postgres::system_user::{self, SystemUser};

const DEFAULT_USER: &str = "postgres";

/// The user to switch to; `None` means the user of this process.
pub(super) fn choose(run_as: Option<&str>) -> Result<Option<SystemUser>, ClusterError> {
    let euid = system_user::effective_uid();
    if euid == 0 {
        let user = run_as.unwrap_or(DEFAULT_USER);
        let found = system_user::named(user).filter(|found| found.uid != 0);
        return found.map(Some).ok_or_else(|| ClusterError::NoSuchUser { user: user.to_owned() });
    }
    match run_as {
        Some(user) if system_user::named(user).is_none_or(|found| found.uid != euid) => {
            Err(ClusterError::CannotSwitchUser { user: user.to_owned() })
        }
        _ => Ok(None),
    }
}
