//! What the operator names as the state to reach, as in Django: an app, and a number, a name or the start of a name.

use std::collections::BTreeSet;

use super::error::PlanError;
use super::id::MigrationId;
use super::nearest::nearest;

/// How many migrations an error lists.
const LISTED: usize = 5;

/// The state that a plan leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everything applied.
    All,
    /// Everything of this app applied.
    App(String),
    /// This migration applied, and none of its app behind it.
    Migration(MigrationId),
    /// Nothing of this app applied.
    Zero(String),
}

impl Target {
    /// Finds what `app` and `target` mean among the migrations `known`.
    ///
    /// `target` is `zero`, a full name, a number (leading zeros do not count) or the start of a name that no other
    /// migration of the app shares.
    pub fn resolve(
        known: &BTreeSet<MigrationId>,
        app: Option<&str>,
        target: Option<&str>,
    ) -> Result<Target, PlanError> {
        let Some(app) = app else { return Ok(Target::All) };
        let own: Vec<&MigrationId> = known.iter().filter(|id| id.app == app).collect();
        if own.is_empty() {
            return Err(unknown_app(known, app));
        }
        match target {
            None => Ok(Target::App(app.to_owned())),
            Some("zero") => Ok(Target::Zero(app.to_owned())),
            Some(target) => find(&own, app, target).map(Target::Migration),
        }
    }
}

fn find(own: &[&MigrationId], app: &str, target: &str) -> Result<MigrationId, PlanError> {
    let name = target.strip_prefix(app).and_then(|rest| rest.strip_prefix('/')).unwrap_or(target);
    if let Some(id) = own.iter().find(|id| id.name == name) {
        return Ok((*id).clone());
    }
    let number = if name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse::<u64>().ok() } else { None };
    let mut found: Vec<&MigrationId> = own.iter().copied().filter(|id| Some(id.number()) == number).collect();
    if found.is_empty() && !name.is_empty() {
        found = own.iter().copied().filter(|id| id.name.starts_with(name)).collect();
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(unknown_target(own, app, target)),
        several => Err(PlanError::AmbiguousTarget {
            app: app.to_owned(),
            target: target.to_owned(),
            candidates: several.iter().map(|id| id.name.clone()).collect(),
        }),
    }
}

fn unknown_app(known: &BTreeSet<MigrationId>, app: &str) -> PlanError {
    let apps: BTreeSet<&str> = known.iter().map(|id| id.app.as_str()).collect();
    let nearest = nearest(app, apps.iter().copied()).first().map(|name| (*name).to_owned());
    let apps = apps.into_iter().map(str::to_owned).collect();
    PlanError::UnknownApp { app: app.to_owned(), apps, nearest }
}

/// Lists those that resemble the target, then the app's latest.
fn unknown_target(own: &[&MigrationId], app: &str, target: &str) -> PlanError {
    let mut listed: Vec<String> = Vec::new();
    let similar = nearest(target, own.iter().map(|id| id.name.as_str()));
    for name in similar.into_iter().chain(own.iter().rev().map(|id| id.name.as_str())) {
        if listed.len() < LISTED && !listed.iter().any(|seen| seen == name) {
            listed.push(name.to_owned());
        }
    }
    PlanError::UnknownTarget { app: app.to_owned(), target: target.to_owned(), nearest: listed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<MigrationId> {
        ["menu/0001_initial", "menu/0002_a", "menu/0010_b", "menu/0010_c", "orders/20240101120000_x"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect()
    }

    fn name(app: &str, target: &str) -> String {
        match Target::resolve(&known(), Some(app), Some(target)).unwrap() {
            Target::Migration(id) => id.name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn takes_a_number_a_name_and_the_start_of_one() {
        for target in ["0001_initial", "1", "0001", "00001", "0001_", "0001_in", "menu/0001_initial"] {
            assert_eq!(name("menu", target), "0001_initial", "{target}");
        }
        assert_eq!(name("orders", "2024"), "20240101120000_x");
        assert_eq!(name("menu", "0010_c"), "0010_c");
    }

    #[test]
    fn what_it_names_without_a_migration() {
        let resolve = |app, target| Target::resolve(&known(), app, target).unwrap();
        assert_eq!(resolve(None, None), Target::All);
        assert_eq!(resolve(Some("menu"), None), Target::App("menu".to_owned()));
        assert_eq!(resolve(Some("menu"), Some("zero")), Target::Zero("menu".to_owned()));
    }

    #[test]
    fn says_what_else_could_be_meant() {
        let error = Target::resolve(&known(), Some("menu"), Some("10")).unwrap_err();
        assert_eq!(error.to_string(), "`10` may mean several migrations of app `menu`: 0010_b, 0010_c");
        let error = Target::resolve(&known(), Some("menus"), None).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `menu`?"));
        let error = Target::resolve(&known(), Some("kitchen"), None).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("the apps are: menu, orders"));
        let error = Target::resolve(&known(), Some("menu"), Some("0002_aa")).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("its migrations include 0002_a, 0010_c, 0010_b, 0001_initial"));
        assert!(Target::resolve(&known(), Some("menu"), Some("")).is_err());
    }
}
