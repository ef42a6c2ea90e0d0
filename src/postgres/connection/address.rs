//! Where a connection leads, before it is made.

use super::{ConnectionError, ConnectionSpec, Host, Session};
use std::collections::BTreeSet;
use std::net::IpAddr;

impl ConnectionSpec {
    /// Whether both lead to the same place by what they say and by what their names resolve to now. Nothing is
    /// connected. Two places can still be one server.
    pub async fn same_place(&self, other: &Self) -> bool {
        if self.port != other.port {
            return false;
        }
        match (&self.host, &other.host) {
            (Host::Unix(one), Host::Unix(another)) => {
                one == another
                    || one.canonicalize().is_ok_and(|one| another.canonicalize().is_ok_and(|other| one == other))
            }
            (Host::Tcp(one), Host::Tcp(another)) => {
                one.eq_ignore_ascii_case(another) || !self.addresses().await.is_disjoint(&other.addresses().await)
            }
            _ => false,
        }
    }

    /// The addresses that its host has now; none for a Unix socket or a name that does not resolve.
    async fn addresses(&self) -> BTreeSet<IpAddr> {
        match (&self.host, self.hostaddr) {
            (Host::Unix(_), _) => BTreeSet::new(),
            (_, Some(address)) => BTreeSet::from([address]),
            (Host::Tcp(name), None) => {
                let found = tokio::net::lookup_host((name.as_str(), self.port)).await;
                found.into_iter().flatten().map(|address| address.ip()).collect()
            }
        }
    }

    /// Connects, and gives the connection pinned to the address that answered: whatever the name resolves to later,
    /// every further connection and program goes there.
    pub async fn connect_pinned(&self, application_name: &str) -> Result<(Self, Session), ConnectionError> {
        let mut failed = None;
        for address in self.addresses().await {
            let pinned = Self { hostaddr: Some(address), ..self.clone() };
            match pinned.connect(application_name).await {
                Ok(session) => return Ok((pinned, session)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok((self.clone(), self.connect(application_name).await?)),
        }
    }
}
