//! Users of the operating system, from `/etc/passwd`.

/// A user's name and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SystemUser {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The effective user id of this process.
pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of the effective user, when the system knows one.
pub(crate) fn current_name() -> Option<String> {
    numbered(effective_uid()).map(|user| user.name)
}

/// The user of that number.
pub(crate) fn numbered(uid: u32) -> Option<SystemUser> {
    find(|user| user.uid == uid)
}

/// The user of that name.
pub(crate) fn named(name: &str) -> Option<SystemUser> {
    find(|user| user.name == name)
}

fn find(wanted: impl Fn(&SystemUser) -> bool) -> Option<SystemUser> {
    std::fs::read_to_string("/etc/passwd").ok()?.lines().filter_map(parse_line).find(wanted)
}

/// Reads `name:password:uid:gid:…`.
fn parse_line(line: &str) -> Option<SystemUser> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(SystemUser { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line() {
        let user = parse_line("postgres:x:104:112:PostgreSQL,,,:/var/lib/postgresql:/bin/bash");
        assert_eq!(user, Some(SystemUser { name: "postgres".to_owned(), uid: 104, gid: 112 }));
        assert_eq!(parse_line("# comment"), None);
    }

    #[test]
    fn knows_this_process() {
        let name = current_name().expect("this process has a user");
        assert_eq!(named(&name).map(|user| user.uid), Some(effective_uid()));
    }
}
