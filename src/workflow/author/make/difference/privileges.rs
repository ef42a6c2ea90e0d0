//! From the privileges of an object to others.
//!
//! pg_dump writes them as what is granted and revoked beyond what the object has by itself (`buildACLCommands` in
//! `dumputils.c`): `GRANT privileges ON … TO role [WITH GRANT OPTION]` and `REVOKE privileges ON … FROM role`.

/// The statements there and back. None: a statement is of another form.
pub(super) fn change(have: &[String], want: &[String]) -> Option<(Vec<String>, Vec<String>)> {
    let side = |from: &[String], to: &[String]| {
        let mut found = Vec::new();
        // Grants that are not wished for first: a later GRANT of less would not take them away.
        for one in from.iter().filter(|one| !to.contains(one)) {
            found.push(opposite(one)?);
        }
        for one in to.iter().filter(|one| !from.contains(one)) {
            found.push(one.clone());
        }
        Some(found)
    };
    Some((side(have, want)?, side(want, have)?))
}

/// What takes back a `GRANT` or a `REVOKE`.
fn opposite(statement: &str) -> Option<String> {
    // ALTER DEFAULT PRIVILEGES FOR ROLE x [IN SCHEMA y] GRANT …
    let at = ["GRANT ", "REVOKE "].iter().filter_map(|word| statement.find(word)).min()?;
    let (head, rest) = statement.split_at(at);
    let plain = rest.trim_end_matches(" WITH GRANT OPTION");
    if let Some(rest) = plain.strip_prefix("GRANT ") {
        let (what, role) = rest.rsplit_once(" TO ")?;
        return Some(format!("{head}REVOKE {what} FROM {role}"));
    }
    let (what, role) = plain.strip_prefix("REVOKE ")?.rsplit_once(" FROM ")?;
    Some(format!("{head}GRANT {what} TO {role}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_taken_back_before_others_are_given() {
        let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let have = text(&["GRANT SELECT,INSERT ON TABLE public.t TO reader", "REVOKE ALL ON FUNCTION f() FROM PUBLIC"]);
        let want = text(&["GRANT SELECT ON TABLE public.t TO reader"]);
        let (up, down) = change(&have, &want).unwrap();
        assert_eq!(
            up,
            [
                "REVOKE SELECT,INSERT ON TABLE public.t FROM reader",
                "GRANT ALL ON FUNCTION f() TO PUBLIC",
                "GRANT SELECT ON TABLE public.t TO reader"
            ]
        );
        assert_eq!(down[0], "REVOKE SELECT ON TABLE public.t FROM reader");
        assert_eq!(
            opposite("ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT SELECT ON TABLES TO reader")
                .unwrap(),
            "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public REVOKE SELECT ON TABLES FROM reader"
        );
    }
}
