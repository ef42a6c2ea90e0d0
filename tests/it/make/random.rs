//! Random schemas: `make` leads from one to another, or says that it cannot.
//!
//! The short form takes a few cases; `SAFE_MIGRATE_LONG=1` takes 1,000 and prints the share of refusals. A case is the
//! number of its seed: `SAFE_MIGRATE_CASE=17` runs one. Half of the cases are one app, whose migrations psql runs then; in the
//! other half two apps need each other, and `apply` runs their migrations in its own order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::normal_lines;
use crate::support::{Project, Scene, Version};

/// A generator of numbers that are the same for the same seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A type with a literal of it.
const TYPES: [(&str, &str); 12] = [
    ("integer", "1"),
    ("bigint", "2"),
    ("text", "'x'"),
    ("varchar(20)", "'y'"),
    ("numeric(8,2)", "1.5"),
    ("boolean", "true"),
    ("timestamptz", "now()"),
    ("date", "'2026-01-01'"),
    ("jsonb", "'{}'"),
    ("uuid", "'5b0f1d5e-4d5a-4a43-9f0e-0d8b4c3a2f11'"),
    ("text[]", "'{}'"),
    ("smallint", "3"),
];

const COMPARABLE: [&str; 7] = ["integer", "bigint", "text", "varchar(20)", "numeric(8,2)", "date", "smallint"];

/// A schema as statements, and values for columns where rows that are there need one.
struct Random {
    statements: String,
    required: BTreeSet<(String, String, String)>,
}

impl Random {
    /// Its statements, each with its app.
    fn by_app(&self) -> Vec<(&'static str, &str)> {
        self.statements.split_inclusive(";\n").map(|one| (app_of(one), one)).collect()
    }
}

struct Column {
    name: String,
    data_type: String,
}

struct Table {
    name: String,
    key: Option<&'static str>,
    columns: Vec<Column>,
    partitioned: bool,
}

fn random(numbers: &mut Numbers, version: Version) -> Random {
    let mut text = String::new();
    let mut required = BTreeSet::new();
    let mut types: Vec<(String, String)> =
        TYPES.iter().map(|(name, literal)| ((*name).to_owned(), (*literal).to_owned())).collect();
    for name in ["mood", "stage"] {
        if numbers.once_in(2) {
            let labels = labels(numbers);
            let list: Vec<String> = labels.iter().map(|label| format!("'{label}'")).collect();
            let _ = writeln!(text, "CREATE TYPE {name} AS ENUM ({});", list.join(", "));
            types.push((name.to_owned(), list[0].clone()));
        }
    }
    if numbers.once_in(3) {
        let limit = numbers.below(3);
        let _ = writeln!(text, "CREATE DOMAIN amount AS integer CHECK (VALUE >= {limit});");
        types.push(("amount".to_owned(), "5".to_owned()));
    }
    if numbers.once_in(3) {
        let _ = writeln!(
            text,
            "CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT n * {} $$;",
            2 + numbers.below(2)
        );
    }
    let has_function = text.contains("twice");
    if numbers.once_in(3) {
        let _ = writeln!(text, "CREATE SEQUENCE counter INCREMENT {};", 1 + numbers.below(3));
    }
    let mut tables: Vec<Table> = Vec::new();
    // One name is always a partitioned table's: how a table is partitioned cannot be changed.
    for name in ["dish", "guest", "visit", "bill", "log"] {
        if numbers.once_in(4) {
            continue;
        }
        let table = table(numbers, (name, version), &types, (&mut text, &mut required), &tables, has_function);
        tables.push(table);
    }
    for table in &tables {
        indexes(numbers, table, &mut text);
    }
    let plain: Vec<&Table> = tables.iter().filter(|one| !one.columns.is_empty()).collect();
    if !plain.is_empty() {
        views(numbers, &plain, &mut text);
        triggers(numbers, &plain, &mut text);
    }
    Random { statements: text, required }
}

fn labels(numbers: &mut Numbers) -> Vec<String> {
    let mut left = vec!["new", "cooking", "done", "late", "lost"];
    let count = 2 + numbers.below(3);
    (0..count).map(|_| left.remove(numbers.below(left.len())).to_owned()).collect()
}

type Out<'a> = (&'a mut String, &'a mut BTreeSet<(String, String, String)>);

fn table(
    numbers: &mut Numbers,
    (name, version): (&str, Version),
    types: &[(String, String)],
    (text, required): Out<'_>,
    others: &[Table],
    has_function: bool,
) -> Table {
    let partitioned = name == "log";
    let mut lines: Vec<String> = Vec::new();
    let key = if partitioned { None } else { *numbers.of(&[None, Some("bigint"), Some("bigint"), Some("integer")]) };
    if let Some(key) = key {
        let how = numbers.of(&["GENERATED BY DEFAULT AS IDENTITY ", "GENERATED ALWAYS AS IDENTITY ", ""]);
        lines.push(format!("id {key} {how}PRIMARY KEY"));
        required.insert((name.to_owned(), "id".to_owned(), "7".to_owned()));
    }
    if partitioned {
        lines.push("at date NOT NULL".to_owned());
        required.insert((name.to_owned(), "at".to_owned(), "'2026-01-01'".to_owned()));
    }
    let mut columns = Vec::new();
    for column in ["a", "b", "c", "d", "e"] {
        if numbers.once_in(3) {
            continue;
        }
        let (data_type, literal) = numbers.of(types).clone();
        let mut line = format!("{column} {data_type}");
        let generated = data_type == "integer" && !columns.is_empty() && numbers.once_in(4);
        let source = columns.iter().find(|one: &&Column| one.data_type == "integer").map(|one| one.name.clone());
        match source.filter(|_| generated) {
            Some(source) => {
                let expression = match has_function && numbers.once_in(2) {
                    true => format!("twice({source})"),
                    false => format!("{source} + {}", numbers.below(3)),
                };
                let _ = write!(line, " GENERATED ALWAYS AS ({expression}) STORED");
                lines.push(line);
                continue;
            }
            None if numbers.once_in(3) => {
                let _ = write!(line, " DEFAULT {literal}");
                if numbers.once_in(2) {
                    line.push_str(" NOT NULL");
                }
            }
            None if numbers.once_in(3) => {
                line.push_str(" NOT NULL");
            }
            None => {}
        }
        required.insert((name.to_owned(), column.to_owned(), literal.clone()));
        lines.push(line);
        columns.push(Column { name: column.to_owned(), data_type });
    }
    let numeric: Vec<String> = columns
        .iter()
        .filter(|one| ["integer", "bigint", "smallint"].contains(&one.data_type.as_str()))
        .map(|one| one.name.clone())
        .collect();
    if !numeric.is_empty() && numbers.once_in(3) {
        lines.push(format!("CONSTRAINT {name}_positive CHECK ({} > {})", numbers.of(&numeric), numbers.below(3)));
    }
    let comparable: Vec<String> =
        columns.iter().filter(|one| COMPARABLE.contains(&one.data_type.as_str())).map(|one| one.name.clone()).collect();
    if !partitioned && !comparable.is_empty() && numbers.once_in(3) {
        lines.push(format!("CONSTRAINT {name}_only UNIQUE ({})", numbers.of(&comparable)));
    }
    for other in others.iter().filter(|other| other.key.is_some()) {
        if numbers.once_in(3) && !(partitioned && version == Version::V15) {
            let key = other.key.unwrap_or_default();
            let action = numbers.of(&["", " ON DELETE CASCADE", " DEFERRABLE INITIALLY DEFERRED"]);
            lines.push(format!("{0}_id {key} CONSTRAINT {name}_{0} REFERENCES {0}{action}", other.name));
        }
    }
    let tail = if partitioned { " PARTITION BY RANGE (at)" } else { "" };
    let _ = writeln!(text, "CREATE TABLE {name} (\n    {}\n){tail};", lines.join(",\n    "));
    if partitioned {
        for month in 1..=1 + numbers.below(2) {
            let _ = writeln!(
                text,
                "CREATE TABLE {name}_{month} PARTITION OF {name} FOR VALUES FROM ('2026-0{month}-01') TO ('2026-0{}-01');",
                month + 1
            );
        }
    }
    if numbers.once_in(4) {
        let _ = writeln!(text, "COMMENT ON TABLE {name} IS 'number {}';", numbers.below(3));
    }
    if numbers.once_in(5) {
        let _ = writeln!(text, "GRANT {} ON {name} TO make_reader;", numbers.of(&["SELECT", "SELECT, INSERT", "ALL"]));
    }
    if !partitioned && numbers.once_in(6) && !columns.is_empty() {
        let _ = writeln!(
            text,
            "ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;\nCREATE POLICY own ON {name} USING ({} IS NOT NULL);",
            columns[0].name
        );
    }
    Table { name: name.to_owned(), key, columns, partitioned }
}

fn indexes(numbers: &mut Numbers, table: &Table, text: &mut String) {
    let comparable: Vec<&Column> =
        table.columns.iter().filter(|one| COMPARABLE.contains(&one.data_type.as_str())).collect();
    for number in 0..numbers.below(3) {
        let Some(column) = (!comparable.is_empty()).then(|| *numbers.of(&comparable)) else { return };
        let unique = if !table.partitioned && numbers.once_in(4) { "UNIQUE " } else { "" };
        let condition = match column.data_type.as_str() {
            "integer" | "bigint" if numbers.once_in(3) => format!(" WHERE {} > 0", column.name),
            _ => String::new(),
        };
        let order = numbers.of(&["", " DESC"]);
        let _ = writeln!(
            text,
            "CREATE {unique}INDEX {}_i{number} ON {} ({}{order}){condition};",
            table.name, table.name, column.name
        );
    }
}

fn views(numbers: &mut Numbers, tables: &[&Table], text: &mut String) {
    if numbers.once_in(2) {
        let table = numbers.of(tables);
        let count = 1 + numbers.below(table.columns.len());
        let columns: Vec<&str> = table.columns.iter().take(count).map(|one| one.name.as_str()).collect();
        let _ = writeln!(text, "CREATE VIEW seen AS SELECT {} FROM {};", columns.join(", "), table.name);
        if numbers.once_in(2) {
            let _ = writeln!(
                text,
                "CREATE VIEW seen_again AS SELECT {} FROM seen WHERE {} IS NOT NULL;",
                columns[0], columns[0]
            );
        }
    }
    if numbers.once_in(4) {
        let table = numbers.of(tables);
        let _ = writeln!(
            text,
            "CREATE MATERIALIZED VIEW counted AS SELECT {0}, count(*) AS rows FROM {1} GROUP BY {0};\nCREATE INDEX counted_rows ON counted (rows);",
            table.columns.iter().find(|one| one.data_type != "jsonb").map_or("1", |one| one.name.as_str()),
            table.name
        );
    }
}

fn triggers(numbers: &mut Numbers, tables: &[&Table], text: &mut String) {
    if numbers.once_in(3) {
        let table = numbers.of(tables);
        let column = &numbers.of(&table.columns).name;
        let event = numbers.of(&["INSERT", "UPDATE", "INSERT OR UPDATE"]);
        let of = if numbers.once_in(2) { format!("UPDATE OF {column}") } else { (*event).to_owned() };
        let _ = writeln!(
            text,
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;\n\
             CREATE TRIGGER touched BEFORE {of} ON {} FOR EACH ROW EXECUTE FUNCTION touch();",
            table.name
        );
    }
}

/// The app of a statement, when there are two: by the first of these names that it has.
fn app_of(statement: &str) -> &'static str {
    const APPS: [(&str, &str); 10] = [
        ("dish", "ants"),
        ("visit", "ants"),
        ("log", "ants"),
        ("log_1", "ants"),
        ("log_2", "ants"),
        ("counted", "ants"),
        ("guest", "zebras"),
        ("bill", "zebras"),
        ("seen", "zebras"),
        ("seen_again", "zebras"),
    ];
    let mut words = statement.split(|one: char| !one.is_ascii_alphanumeric() && one != '_');
    words.find_map(|word| APPS.iter().find(|(name, _)| *name == word)).map_or("zebras", |(_, app)| app)
}

/// Writes two apps: statements of one app in a row are one migration, which depends on the one before it.
fn write_two_apps(project: &Project, before: &Random, after: &Random) {
    let (before, after) = (before.by_app(), after.by_app());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut depends = String::new();
    for row in before.chunk_by(|one, other| one.0 == other.0) {
        let app = row[0].0;
        let count = counts.entry(app).or_default();
        *count += 1;
        let name = format!("{count:04}_part");
        let statements: String = row.iter().map(|(_, statement)| *statement).collect();
        project.write_migration(app, &name, &format!("{depends}-- migrate:up\n{statements}"));
        depends = format!("-- depends: {app}/{name}\n");
    }
    for app in ["ants", "zebras"] {
        let statements: String = after.iter().filter(|one| one.0 == app).map(|(_, statement)| *statement).collect();
        project.write(&format!("migrations/{app}/schema.sql"), &statements);
    }
}

/// Why a case was refused; none: it was reached.
fn case(number: usize) -> Option<String> {
    let version = if number.is_multiple_of(2) { Version::V15 } else { Version::V18 };
    let two_apps = (number / 2).is_multiple_of(2);
    let mut numbers = Numbers(number as u64);
    let (before, after) = (random(&mut numbers, version), random(&mut numbers, version));
    let scene = super::pairs::scene(version);
    if two_apps {
        write_two_apps(&scene.project, &before, &after);
    } else {
        scene.project.write_migration("app", "0001_initial", &format!("-- migrate:up\n{}", before.statements));
        scene.project.write("migrations/app/schema.sql", &after.statements);
    }
    let mut arguments: Vec<String> = ["make", "--no-renames"].map(str::to_owned).to_vec();
    for (table, column, value) in &after.required {
        arguments.extend(["--default".to_owned(), format!("{table}.{column}={value}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = scene.project.run(&arguments);
    let both = || format!("case {number}\n--- before\n{}\n--- after\n{}\n---\n", before.statements, after.statements);
    match output.status {
        0 => {}
        3 if output.stderr.contains("nothing was written") => return Some(format!("{}{}", both(), output.stderr)),
        status => panic!("exit {status}: {}{}", both(), output.stderr),
    }
    if two_apps {
        let output = scene.project.run(&["apply", "--yes", "--skip-rehearsal", "make has run them"]);
        assert_eq!(output.status, 0, "{}{}", both(), output.stderr);
    } else {
        run_by_psql(&scene);
    }
    let wished = format!("{}_wished", scene.database.name());
    scene.cluster().sql("postgres", &format!("CREATE DATABASE {wished}"));
    scene.cluster().sql(&wished, &after.statements);
    let (built, wanted) = (normal_lines(&scene, scene.database.name()), normal_lines(&scene, &wished));
    scene.cluster().sql("postgres", &format!("DROP DATABASE {wished}"));
    assert_eq!(built, wanted, "{}", both());
    None
}

fn run_by_psql(scene: &Scene) {
    // PostgreSQL judges, not make: the migrations are run by psql.
    let mut files: Vec<_> = std::fs::read_dir(scene.project.migrations().join("app"))
        .expect("the app")
        .map(|one| one.expect("a file").path())
        .filter(|path| !path.ends_with("schema.sql"))
        .collect();
    files.sort();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a migration");
        let up = text.split("-- migrate:down").next().unwrap_or_default();
        let up = up.split("-- migrate:up").nth(1).and_then(|rest| rest.split_once('\n')).map_or("", |(_, rest)| rest);
        // Statement by statement: CONCURRENTLY runs in no transaction. Tables are empty, so one batch holds all rows.
        let up = up.replace(":from", "-1").replace(":to", "1");
        scene.database.sql(&up);
    }
}

#[test]
fn random_schemas_are_reached_or_refused() {
    if let Some(number) = std::env::var("SAFE_MIGRATE_CASE").ok().and_then(|number| number.parse().ok()) {
        assert_eq!(case(number), None);
        return;
    }
    let long = std::env::var_os("SAFE_MIGRATE_LONG").is_some();
    let count = std::env::var("SAFE_MIGRATE_CASES").ok().and_then(|count| count.parse().ok());
    let count = count.unwrap_or(if long { 1000 } else { 8 });
    let (next, refused) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..if long { 4 } else { 2 } {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    match std::panic::catch_unwind(|| case(number)) {
                        Ok(None) => {}
                        Ok(Some(why)) => {
                            println!("{why}");
                            refused.lock().expect("a list").push(number);
                        }
                        Err(_) => failed.lock().expect("a list").push(number),
                    }
                }
            });
        }
    });
    let (refused, failed) = (refused.into_inner().expect("a list"), failed.into_inner().expect("a list"));
    println!("{count} random pairs of schemas: {} refused {refused:?}, {} failed", refused.len(), failed.len());
    assert!(failed.is_empty(), "cases {failed:?}");
    assert!(refused.len() * 50 <= count, "{} of {count} refused", refused.len());
}
