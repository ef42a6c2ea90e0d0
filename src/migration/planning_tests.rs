use time::OffsetDateTime;

use super::*;

/// A migration from `"a/0002_x"` or `"a/0002_x > b/0001_x"`; one whose name ends in `final` has no down section.
fn migration(text: &str) -> Migration {
    let (id, depends) = text.split_once(" > ").unwrap_or((text, ""));
    let header = if depends.is_empty() { String::new() } else { format!("-- depends: {depends}\n") };
    let down = if id.ends_with("final") { "" } else { "-- migrate:down\n" };
    let body = format!("{header}-- breaking: {id}\n-- migrate:up\n{down}");
    Migration::parse(id.parse().unwrap(), PathBuf::from(format!("m/{id}.sql")), body.as_bytes()).unwrap()
}

fn row(text: &str, run_id: &str) -> AppliedMigration {
    let migration = migration(text);
    AppliedMigration {
        id: migration.id,
        checksum: migration.checksum.to_string(),
        text: migration.text,
        applied_at: OffsetDateTime::UNIX_EPOCH,
        run_id: run_id.to_owned(),
        how: "apply".to_owned(),
    }
}

const FILES: [&str; 6] = [
    "accounts/0001_a",
    "accounts/0002_b",
    "menu/0001_a",
    "menu/0002_b",
    "orders/0001_a > accounts/0002_b, menu/0001_a",
    "orders/0002_b",
];

fn set(files: &[&str]) -> MigrationSet {
    MigrationSet::new(files.iter().map(|text| migration(text)).collect()).unwrap()
}

fn rows(texts: &[&str]) -> Vec<AppliedMigration> {
    texts.iter().map(|text| row(text, "run1")).collect()
}

fn names(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.migration.id.to_string()).collect()
}

fn apply(applied: &[&str], app: Option<&str>, target: Option<&str>) -> Result<Vec<String>, PlanError> {
    set(&FILES).plan_apply(&rows(applied), app, target).map(|plan| names(&plan))
}

fn rollback(applied: &[&str], app: &str, target: &str) -> Result<Vec<String>, PlanError> {
    set(&FILES).plan_rollback(&rows(applied), app, target).map(|plan| names(&plan))
}

#[test]
fn apply_takes_what_is_pending_and_what_it_needs() {
    let all: Vec<String> = FILES.iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(apply(&[], None, None).unwrap(), all);
    assert_eq!(apply(&FILES, None, None).unwrap(), [""; 0]);
    assert_eq!(apply(&FILES[..5], None, None).unwrap(), ["orders/0002_b"]);
    assert_eq!(apply(&[], Some("menu"), None).unwrap(), ["menu/0001_a", "menu/0002_b"]);
    assert_eq!(
        apply(&FILES[..1], Some("orders"), Some("1")).unwrap(),
        ["accounts/0002_b", "menu/0001_a", "orders/0001_a"]
    );
    assert_eq!(apply(&FILES[..2], Some("accounts"), Some("0002")).unwrap(), [""; 0]);
}

#[test]
fn apply_never_goes_back() {
    let error = apply(&FILES, Some("menu"), Some("1")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "menu/0001_a is applied already, and later migrations of its app are too: menu/0002_b"
    );
    assert_eq!(error.hint().as_deref(), Some("to go back, run `safe-migrate rollback menu 0001_a`"));
    let error = apply(&FILES, Some("menu"), Some("zero")).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("run `safe-migrate rollback menu zero`"));
    // A pending one behind an applied target is no going back.
    assert_eq!(apply(&FILES[..3], Some("menu"), Some("1")).unwrap(), [""; 0]);
}

#[test]
fn rollback_takes_what_lies_behind_and_what_depends_on_it() {
    assert_eq!(rollback(&FILES, "orders", "1").unwrap(), ["orders/0002_b"]);
    assert_eq!(rollback(&FILES, "menu", "1").unwrap(), ["menu/0002_b"]);
    assert_eq!(
        rollback(&FILES, "menu", "zero").unwrap(),
        ["orders/0002_b", "orders/0001_a", "menu/0002_b", "menu/0001_a"]
    );
    assert_eq!(rollback(&FILES[..4], "accounts", "0001_a").unwrap(), ["accounts/0002_b"]);
    assert_eq!(rollback(&FILES, "orders", "2").unwrap(), [""; 0]);
    assert_eq!(rollback(&FILES[..4], "orders", "zero").unwrap(), [""; 0]);
}

#[test]
fn rollback_never_goes_forward() {
    let error = rollback(&FILES[..3], "menu", "2").unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("to go forward, run `safe-migrate apply menu 0002_b`"));
    assert!(matches!(rollback(&FILES, "menus", "1"), Err(PlanError::UnknownApp { .. })));
}

#[test]
fn rollback_leaves_a_sibling_alone() {
    let files = ["a/0001_x", "a/0002_y", "a/0002_z", "a/0003_m > a/0002_y, a/0002_z"];
    let plan = set(&files).plan_rollback(&rows(&files), "a", "0002_y").unwrap();
    assert_eq!(names(&plan), ["a/0003_m"]);
}

#[test]
fn a_missing_file_is_rolled_back_from_the_ledger() {
    let applied = rows(&["accounts/0001_a", "menu/0001_a", "extra/0001_e > menu/0001_a", "menu/0003_gone"]);
    let set = set(&["accounts/0001_a", "menu/0001_a"]);
    let plan = set.plan_rollback(&applied, "menu", "zero").unwrap();
    assert_eq!(names(&plan), ["menu/0003_gone", "extra/0001_e", "menu/0001_a"]);
    assert!(plan.steps[0].section().is_some());
    assert_eq!(names(&set.plan_rollback(&applied, "extra", "zero").unwrap()), ["extra/0001_e"]);
}

#[test]
fn a_ledger_text_that_is_no_migration_matters_only_when_it_has_to_run() {
    let mut applied = rows(&["menu/0001_a", "old/0001_x"]);
    applied[1].text = String::new();
    let set = set(&["menu/0001_a"]);
    assert_eq!(names(&set.plan_rollback(&applied, "menu", "zero").unwrap()), ["menu/0001_a"]);
    assert!(matches!(set.plan_rollback(&applied, "old", "zero"), Err(PlanError::LedgerText { .. })));
}

#[test]
fn an_irreversible_migration_is_named_with_its_file() {
    let files = ["a/0001_x", "a/0002_final", "a/0003_z"];
    let error = set(&files).plan_rollback(&rows(&files), "a", "1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a/0002_final cannot be rolled back: m/a/0002_final.sql has no `-- migrate:down` section"
    );
    assert!(set(&files).plan_rollback(&rows(&files), "a", "2").is_ok());
}

#[test]
fn a_run_is_rolled_back_alone_or_not_at_all() {
    let mut applied = rows(&FILES[..4]);
    applied.push(row(FILES[4], "run2"));
    let files = set(&FILES);
    assert_eq!(names(&files.plan_rollback_run(&applied, "run2").unwrap()), ["orders/0001_a"]);
    let error = files.plan_rollback_run(&applied, "run1").unwrap_err();
    assert!(
        matches!(&error, PlanError::NeededByLater { later, .. } if later.to_string() == "orders/0001_a"),
        "{error}"
    );
    assert!(files.plan_rollback_run(&applied, "run3").unwrap().is_empty());
}

#[test]
fn the_check_names_what_changed_is_missing_or_hangs_in_the_air() {
    let mut applied = rows(&["accounts/0001_a", "menu/0002_b", "gone/0001_x"]);
    applied[0].checksum = "0".repeat(64);
    let check = set(&FILES).check(&applied);
    assert_eq!(check.changed.len(), 1);
    assert_eq!(
        (check.changed[0].id.to_string(), &check.changed[0].ledger),
        ("accounts/0001_a".to_owned(), &"0".repeat(64))
    );
    assert_eq!(check.missing, [applied[2].id.clone()]);
    assert_eq!(check.inconsistent.len(), 1);
    assert_eq!(check.inconsistent[0].dependency.to_string(), "menu/0001_a");
    assert!(set(&FILES).check(&rows(&FILES)).is_clean());
}

#[test]
fn the_hash_names_direction_order_and_content() {
    let apply = set(&FILES).plan_apply(&[], Some("menu"), None).unwrap();
    let same = set(&FILES[2..4]).plan_apply(&[], None, None).unwrap();
    assert_eq!(apply.hash(), same.hash());
    assert_eq!(apply.hash().short().len(), 12);
    let back = set(&FILES[2..4]).plan_rollback(&rows(&FILES[2..4]), "menu", "zero").unwrap();
    let mut reversed = back.clone();
    reversed.steps.reverse();
    let fewer = set(&FILES).plan_apply(&[], Some("menu"), Some("1")).unwrap();
    let hashes: BTreeSet<String> =
        [&apply, &back, &reversed, &fewer].iter().map(|plan| plan.hash().to_string()).collect();
    assert_eq!(hashes.len(), 4);
    assert_eq!(apply.breaking()[1].note, "menu/0002_b");
}
