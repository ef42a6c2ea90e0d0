//! Checks and settings of a table.

use super::*;

impl<'a> Comparison<'a> {
    pub(super) fn checks(&mut self) {
        let (have, want) = (&self.have.checks, &self.want.checks);
        let named = |checks: &'a [Check], name: &str| checks.iter().find(|one| one.quoted == name);
        let reset = |one: &Check| self.around.reset.contains(&Part::Check(one.quoted.clone()));
        let kept = |one: &Check| named(want, &one.quoted).filter(|other| plain(other) == plain(one) && !reset(one));
        let (mut gone, mut new): (Vec<&Check>, Vec<&Check>) = (Vec::new(), Vec::new());
        let mut validated = Vec::new();
        gone.extend(have.iter().filter(|one| kept(one).is_none()));
        new.extend(want.iter().filter(|one| named(have, &one.quoted).and_then(kept).is_none()));
        for one in want.iter().filter(|one| one.valid) {
            if named(have, &one.quoted).is_some_and(|other| !other.valid && kept(other).is_some()) {
                validated.push(one);
            }
        }
        for one in validated {
            self.validate(one, None);
        }
        // Of another name only.
        new.retain(|one| {
            let same = gone
                .iter()
                .position(|other| other.definition == one.definition && named(want, &other.quoted).is_none());
            let Some(at) = same.filter(|_| named(have, &one.quoted).is_none()) else { return true };
            let old = gone.remove(at);
            let rename =
                |from: &Check, to: &Check| self.alter(format!("RENAME CONSTRAINT {} TO {}", from.quoted, to.quoted));
            let operation = Operation::new(Mode::Together, vec![rename(old, one)], vec![rename(one, old)]).titled(
                '~',
                format!("Rename constraint {} of {} to {}", old.quoted, self.want.name, one.quoted),
                format!("rename_{}", one.quoted.trim_matches('"')),
            );
            self.steps.push(TableStep {
                stage: Stage::Other,
                operation,
                columns: Vec::new(),
                after: None,
                is_aside: false,
                is_last: false,
            });
            false
        });
        for one in gone {
            let (up, down) = (
                self.alter(format!("DROP CONSTRAINT {}", one.quoted)),
                self.alter(format!("ADD CONSTRAINT {} {}", one.quoted, one.definition)),
            );
            let operation = Operation::new(Mode::Together, vec![up], vec![down]).titled(
                '-',
                format!("Drop constraint {} from {}", one.quoted, self.want.name),
                format!("{}_drop_{}", self.around.short_name, one.quoted.trim_matches('"')),
            );
            self.push(Stage::Early, None, operation);
        }
        for one in new {
            let drop = self.alter(format!("DROP CONSTRAINT {}", one.quoted));
            let add = self.alter(format!("ADD CONSTRAINT {} {} NOT VALID", one.quoted, plain(one)));
            let operation = Operation::new(Mode::Together, vec![add], vec![drop]).titled(
                '+',
                format!("Add constraint {} to {}", one.quoted, self.want.name),
                format!("{}_add_{}", self.around.short_name, one.quoted.trim_matches('"')),
            );
            let at = self.push(Stage::Check, None, operation);
            if one.valid {
                self.validate(one, Some(at));
            }
        }
    }

    pub(super) fn validate(&mut self, check: &Check, after: Option<usize>) {
        let up = self.alter(format!("VALIDATE CONSTRAINT {}", check.quoted));
        let down = vec![
            self.alter(format!("DROP CONSTRAINT {}", check.quoted)),
            self.alter(format!("ADD CONSTRAINT {} {} NOT VALID", check.quoted, plain(check))),
        ];
        let mut operation = Operation::new(Mode::Validate, vec![up], down);
        if after.is_none() {
            operation = operation.titled(
                '~',
                format!("Validate constraint {} of {}", check.quoted, self.want.name),
                format!("validate_{}", check.quoted.trim_matches('"')),
            );
        }
        let at = self.push(Stage::Check, None, operation);
        self.steps[at].after = after;
        self.steps[at].is_aside = true;
    }

    pub(super) fn properties(&mut self) {
        let (have, want) = (self.have, self.want);
        let mut pairs: Vec<(Stage, String, String)> = Vec::new();
        if have.persistence != want.persistence {
            let logged = |one: &Relation| if one.persistence == 'u' { "SET UNLOGGED" } else { "SET LOGGED" };
            pairs.push((Stage::Other, logged(want).to_owned(), logged(have).to_owned()));
        }
        pairs.extend(option_changes(&have.options, &want.options, "").map(|(up, down)| (Stage::Other, up, down)));
        if have.replica_identity != want.replica_identity {
            let identity = |one: &Relation| format!("REPLICA IDENTITY {}", one.replica_identity);
            pairs.push((Stage::Late, identity(want), identity(have)));
        }
        if have.cluster != want.cluster {
            let cluster = |one: &Relation| match &one.cluster {
                Some(index) => format!("CLUSTER ON {index}"),
                None => "SET WITHOUT CLUSTER".to_owned(),
            };
            pairs.push((Stage::Late, cluster(want), cluster(have)));
        }
        if have.forced_row_security != want.forced_row_security {
            let forced = |on: bool| if on { "FORCE ROW LEVEL SECURITY" } else { "NO FORCE ROW LEVEL SECURITY" };
            pairs.push((
                Stage::Other,
                forced(want.forced_row_security).into(),
                forced(have.forced_row_security).into(),
            ));
        }
        if !want.is_partition && !have.is_partition {
            for parent in have.parents.iter().filter(|one| !want.parents.contains(one)) {
                pairs.push((Stage::Early, format!("NO INHERIT {parent}"), format!("INHERIT {parent}")));
            }
            for parent in want.parents.iter().filter(|one| !have.parents.contains(one)) {
                pairs.push((Stage::Late, format!("INHERIT {parent}"), format!("NO INHERIT {parent}")));
            }
        }
        if have.owner != want.owner {
            pairs.push((Stage::Late, format!("OWNER TO {}", want.owner), format!("OWNER TO {}", have.owner)));
        }
        for (stage, up, down) in pairs {
            let operation = Operation::new(Mode::Together, vec![self.alter(up)], vec![self.alter(down)]).titled(
                '~',
                format!("Change settings of {}", want.name),
                format!("{}_settings", self.around.short_name),
            );
            self.push(stage, None, operation);
        }
    }
}

/// `SET (…)` and `RESET (…)` from one list of `name=value` to another, with the way back.
pub(in super::super) fn option_changes(have: &[String], want: &[String], before: &str) -> Option<(String, String)> {
    let name = |one: &str| one.split('=').next().unwrap_or_default().to_owned();
    let side = |from: &[String], to: &[String]| {
        let set: Vec<String> = to.iter().filter(|one| !from.contains(one)).cloned().collect();
        let names: BTreeSet<String> = to.iter().map(|one| name(one)).collect();
        let reset: Vec<String> = from.iter().map(|one| name(one)).filter(|one| !names.contains(one)).collect();
        let mut parts = Vec::new();
        if !reset.is_empty() {
            parts.push(format!("{before}RESET ({})", reset.join(", ")));
        }
        if !set.is_empty() {
            parts.push(format!("{before}SET ({})", set.join(", ")));
        }
        parts.join(", ")
    };
    let (up, down) = (side(have, want), side(want, have));
    (!up.is_empty() && !down.is_empty()).then_some((up, down))
}

/// A check's definition without `NOT VALID`.
fn plain(check: &Check) -> &str {
    check.definition.trim_end_matches(" NOT VALID")
}
