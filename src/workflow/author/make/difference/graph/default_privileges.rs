//! Default privileges, which give a new object what nobody may wish for.

use super::*;

impl<'a> Builder<'a> {
    /// What takes away, from a new object, what default privileges give it and nobody wishes for.
    pub(super) fn unwanted_default_privileges(&self, at: usize) -> Vec<String> {
        let object = &self.want.objects[at];
        let (all, one) = match object.kind() {
            "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" => ("TABLES", "TABLE"),
            "SEQUENCE" => ("SEQUENCES", "SEQUENCE"),
            "FUNCTION" | "PROCEDURE" => ("FUNCTIONS", object.kind()),
            _ => return Vec::new(),
        };
        let head = format!("DROP {} ", object.kind());
        let Some(path) = object.drop.as_deref().and_then(|drop| drop.strip_prefix(&head)) else { return Vec::new() };
        let wished: BTreeSet<&String> = self
            .want
            .users(at)
            .iter()
            .map(|user| &self.want.objects[*user])
            .filter(|user| user.kind() == "ACL")
            .flat_map(|user| &user.statements)
            .collect();
        let kept = |(at, default): &(usize, &Object)| {
            let here = default.key.1.is_empty() || default.key.1 == "-" || default.key.1 == object.key.1;
            default.kind() == "DEFAULT ACL" && here && matches!(self.fates.of[*at], Fate::Keep)
        };
        let defaults = self.have.objects.iter().enumerate().filter(kept).flat_map(|(_, default)| &default.statements);
        let of_owner = |statement: &&String| {
            object.owner.as_ref().is_none_or(|owner| statement.contains(&format!(" FOR ROLE {owner} ")))
        };
        let taken = defaults.filter(of_owner).filter_map(|statement| {
            let (_, grant) = statement.split_once(" GRANT ")?;
            let (privileges, role) = grant.split_once(&format!(" ON {all} TO "))?;
            let role = role.trim_end_matches(" WITH GRANT OPTION");
            let is_wished = wished.contains(&format!("GRANT {privileges} ON {one} {path} TO {role}"));
            (!is_wished).then(|| format!("REVOKE {privileges} ON {one} {path} FROM {role}"))
        });
        taken.collect()
    }
}
