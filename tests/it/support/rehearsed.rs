//! The report of a rehearsal, as a test asks it.

use serde_json::Value;

use super::scene::Scene;

/// What `rehearse --json` printed.
#[derive(Debug)]
pub struct Rehearsed(pub Value);

/// One statement of the report.
#[derive(Debug)]
pub struct Statement<'a>(pub &'a Value);

impl Rehearsed {
    /// Takes a snapshot and rehearses all that is pending; it must go through.
    #[track_caller]
    pub fn of(scene: &Scene) -> Rehearsed {
        let output = scene.rehearse(&["rehearse", "--snapshot", "new", "--json"]);
        let document: Value = serde_json::from_str(&output.stdout).expect("--json prints JSON");
        Rehearsed(document["rehearsal"].clone())
    }

    /// A migration by its name without app and number.
    #[track_caller]
    pub fn step(&self, name: &str) -> &Value {
        let steps = self.0["steps"].as_array().expect("a list");
        let ends_so =
            |step: &&Value| step["migration"].as_str().is_some_and(|id| id[id.find('_').unwrap() + 1..] == *name);
        steps.iter().find(ends_so).unwrap_or_else(|| panic!("no migration {name}"))
    }

    /// A statement of a migration.
    #[track_caller]
    pub fn statement(&self, name: &str, index: usize) -> Statement<'_> {
        Statement(&self.step(name)["statements"][index])
    }

    /// The last statement of a migration.
    #[track_caller]
    pub fn last(&self, name: &str) -> Statement<'_> {
        Statement(self.step(name)["statements"].as_array().expect("a list").last().expect("it has statements"))
    }

    /// `MODE on schema.name: blocks what` of the locks of a migration that block the application.
    pub fn blocking(&self, name: &str) -> Vec<String> {
        let locks = self.step(name)["blocking_locks"].as_array().expect("a list").iter();
        locks
            .map(|lock| {
                format!("{} on {}: blocks {}", text(lock, "mode"), text(lock, "relation"), text(lock, "blocks"))
            })
            .collect()
    }
}

impl Statement<'_> {
    /// `MODE on name` of its locks.
    pub fn locks(&self) -> Vec<String> {
        let locks = self.0["locks"].as_array().expect("a list").iter();
        locks
            .map(|lock| format!("{} on {}", text(lock, "mode"), text(lock, "relation").replace("public.", "")))
            .collect()
    }

    /// How long it held a relation, in milliseconds: the longest of its locks.
    #[track_caller]
    pub fn held(&self, relation: &str) -> f64 {
        let locks = self.0["locks"].as_array().expect("a list").iter();
        let held = locks.filter(|lock| text(lock, "relation") == format!("public.{relation}"));
        held.map(|lock| lock["held_milliseconds"].as_f64().unwrap()).reduce(f64::max).expect("it locked that")
    }

    /// The names in a list of the statement.
    pub fn names(&self, list: &str) -> Vec<String> {
        let names = self.0[list].as_array().expect("a list").iter();
        names.map(|name| name.as_str().unwrap().replace("public.", "")).collect()
    }

    /// `name: scans, rows`.
    pub fn scanned(&self) -> Vec<String> {
        let scans = self.0["scanned"].as_array().expect("a list").iter();
        scans
            .map(|scan| {
                format!("{}: {}, {}", text(scan, "relation").replace("public.", ""), scan["scans"], scan["rows_read"])
            })
            .collect()
    }

    /// `table: +inserted ~updated -deleted`.
    pub fn rows(&self) -> Vec<String> {
        let rows = self.0["rows_written"].as_array().expect("a list").iter();
        let words = |row: &Value| {
            let table = text(row, "table").replace("public.", "");
            format!("{table}: +{} ~{} -{}", row["inserted"], row["updated"], row["deleted"])
        };
        rows.map(words).collect()
    }

    /// A table's size before and after.
    #[track_caller]
    pub fn size(&self, relation: &str) -> (u64, u64) {
        let mut sizes = self.0["sizes"].as_array().expect("a list").iter();
        let name = format!("public.{relation}");
        let size = sizes.rfind(|size| text(size, "relation") == name).expect("its size changed");
        (size["before"].as_u64().unwrap(), size["after"].as_u64().unwrap())
    }

    /// A number of the statement.
    pub fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap()
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("a text")
}
