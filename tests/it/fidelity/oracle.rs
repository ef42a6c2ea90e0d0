//! The oracle: what psql, pg_dump and pg_restore alone say of two databases. Nothing here is the program under test.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use crate::support::{TestCluster, run_with_input};

/// A database on a server.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub cluster: &'a TestCluster,
    pub database: &'a str,
}

/// For every relation of a database, every sequence's next value, and so on: its name and its contents.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// Makes the script that copies every relation out, each below a line of its name. Columns stand by name and rows by
/// their text, so the order of neither matters. Below a hash partition only the whole tree is compared: a row may lie
/// in another leaf of the copy.
const RELATIONS: &str = r#"
    SELECT format(E'COPY (SELECT %L) TO STDOUT;\nCOPY (%s) TO STDOUT;', '=== ' || n.nspname || '.' || c.relname,
           CASE WHEN c.relkind = 'S' THEN format('SELECT last_value, is_called FROM %I.%I', n.nspname, c.relname)
                WHEN NOT c.relispopulated THEN 'SELECT ''not populated'''
                ELSE format('SELECT %s FROM %s%I.%I x%s', columns.list, CASE c.relkind WHEN 'r' THEN 'ONLY ' END,
                            n.nspname, c.relname, ' ORDER BY ROW(' || nullif(columns.list, '') || ')::text COLLATE "C"')
           END)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL (SELECT coalesce(string_agg(format('x.%I', attname), ', ' ORDER BY attname COLLATE "C"), '') AS list
                           FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) columns
     CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_partition_tree(pg_partition_root(c.oid)) t
                                          JOIN pg_partitioned_table p ON p.partrelid = t.relid
                                         WHERE p.partstrat = 'h') AS hashed) tree
     WHERE n.nspname !~ '^(pg_|information_schema$|safe_migrate$)' AND c.relpersistence <> 't'
       AND (c.relkind IN ('S', 'm') OR (c.relkind = 'r' AND NOT tree.hashed)
            OR (c.relkind = 'p' AND tree.hashed AND NOT c.relispartition))
     ORDER BY n.nspname, c.relname"#;

const LARGE_OBJECTS: &str = "
    COPY (SELECT oid, lo_get(oid), pg_get_userbyid(lomowner), lomacl, obj_description(oid, 'pg_largeobject')
            FROM pg_largeobject_metadata ORDER BY 1) TO STDOUT;";

const PROPERTIES: &str = "
    COPY (SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider,
                 shobj_description(d.oid, 'pg_database'),
                 ARRAY(SELECT concat_ws(' ', a.grantor::regrole, a.grantee::regrole, privilege_type, is_grantable)
                         FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a ORDER BY 1)
            FROM pg_database d WHERE datname = current_database()) TO STDOUT;
    COPY (SELECT coalesce(r.rolname, ''), unnest(setconfig) FROM pg_db_role_setting s
            LEFT JOIN pg_roles r ON r.oid = s.setrole JOIN pg_database d ON d.oid = s.setdatabase
           WHERE d.datname = current_database() ORDER BY 1, 2) TO STDOUT;";

/// Asks every sequence for its next value: the last thing that is compared, for it changes both databases.
const NEXT_VALUES: &str = "
    CREATE FUNCTION pg_temp.next(s regclass) RETURNS text LANGUAGE plpgsql AS
        'BEGIN RETURN nextval(s); EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END';
    COPY (SELECT n.nspname, c.relname, pg_temp.next(c.oid::regclass)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^(pg_|safe_migrate$)'
           ORDER BY 1, 2) TO STDOUT;";

/// Rows, sequences, large objects and properties of a database.
pub fn contents(place: Place<'_>) -> Contents {
    let script = psql(place, RELATIONS);
    let mut contents = Contents::new();
    let mut current = None;
    for line in psql_bytes(place, &script).split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"=== ") {
            Some(name) => current = Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned()),
            None => {
                let name = current.clone().expect("the name comes before the rows");
                contents.entry(name).or_default().extend_from_slice(line);
            }
        }
    }
    contents.insert("(large objects)".to_owned(), psql_bytes(place, LARGE_OBJECTS.as_bytes()));
    contents.insert("(properties)".to_owned(), psql_bytes(place, PROPERTIES.as_bytes()));
    contents
}

/// `pg_dump -s` without comments and without what differs from dump to dump.
pub fn schema(place: Place<'_>) -> Vec<u8> {
    let text = bytes_of(pg_dump(place).arg("-s"), b"");
    let noise = |line: &&[u8]| {
        [&b"\\restrict"[..], b"\\unrestrict", b"--"].iter().any(|start| line.starts_with(start)) || *line == b"\n"
    };
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !noise(line)).flatten().copied().collect()
}

/// Makes `plain` the schema of `source` by plain `pg_dump` and `pg_restore`: what everybody would do.
pub fn dump_and_restore_schema(source: Place<'_>, plain: Place<'_>) {
    let of =
        "SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype)
                FROM pg_database WHERE datname = current_database()";
    let locale = String::from_utf8(psql(source, of)).expect("a locale's name");
    plain.cluster.sql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0 {}", plain.database, locale.trim()));
    let archive = bytes_of(pg_dump(source).args(["-Fc", "-s"]), b"");
    let url = plain.cluster.socket_url(plain.database);
    bytes_of(plain.cluster.program("pg_restore").args(["--exit-on-error", "-d", &url]), &archive);
}

/// What differs between a database and its copy, a paragraph each; `plain` has the schema that a copy should have.
pub fn differences(source: &Contents, copy: Place<'_>, plain: Place<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let (expected, here) = (schema(plain), schema(copy));
    if expected != here {
        found.push(format!("schema:\n{}", first_difference(&expected, &here)));
    }
    let here = contents(copy);
    for name in source.keys().chain(here.keys().filter(|name| !source.contains_key(*name))) {
        match (source.get(name), here.get(name)) {
            (Some(expected), Some(found_here)) if expected == found_here => {}
            (Some(expected), Some(found_here)) => {
                found.push(format!("{name}:\n{}", first_difference(expected, found_here)));
            }
            (expected, _) => {
                found.push(format!("{name}: only in the {}", if expected.is_some() { "source" } else { "copy" }))
            }
        }
    }
    found
}

/// The next value of every sequence.
pub fn next_values(place: Place<'_>) -> String {
    String::from_utf8_lossy(&psql_bytes(place, NEXT_VALUES.as_bytes())).into_owned()
}

/// The lines around the first difference of two texts.
fn first_difference(expected: &[u8], found: &[u8]) -> String {
    let lines = |text: &[u8]| -> Vec<String> {
        text.split(|byte| *byte == b'\n')
            .map(|line| String::from_utf8_lossy(line).chars().take(300).collect())
            .collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let at = expected.iter().zip(&found).position(|(a, b)| a != b).unwrap_or(expected.len().min(found.len()));
    let around = |lines: &[String], sign: &str| -> String {
        lines.iter().skip(at.saturating_sub(2)).take(6).map(|line| format!("{sign} {line}\n")).collect()
    };
    format!("line {}:\n{}{}", at + 1, around(&expected, "-"), around(&found, "+"))
}

fn pg_dump(place: Place<'_>) -> Command {
    let mut command = place.cluster.program("pg_dump");
    command.env("PGCLIENTENCODING", encoding(place));
    command.env("PGOPTIONS", "-c standard_conforming_strings=on -c quote_all_identifiers=off");
    command.args(["-N", "safe_migrate", "-d", &place.cluster.socket_url(place.database)]);
    command
}

/// What a query prints, unaligned; the names in it may hold anything.
fn psql(place: Place<'_>, query: &str) -> Vec<u8> {
    bytes_of(psql_command(place).args(["-At", "-c", query]), b"")
}

fn psql_bytes(place: Place<'_>, script: &[u8]) -> Vec<u8> {
    bytes_of(&mut psql_command(place), script)
}

/// The database's own settings may be hostile; what the oracle prints depends on none of them.
fn psql_command(place: Place<'_>) -> Command {
    let settings = "-c statement_timeout=0 -c search_path=pg_catalog -c default_transaction_read_only=off -c TimeZone=UTC
                    -c extra_float_digits=3 -c DateStyle=ISO -c bytea_output=hex -c default_transaction_isolation=read\\ committed";
    let mut command = place.cluster.program("psql");
    command.env("PGCLIENTENCODING", encoding(place));
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &place.cluster.socket_url(place.database)]);
    command.env("PGOPTIONS", settings.split_whitespace().collect::<Vec<_>>().join(" "));
    command
}

/// The database's own encoding: what is printed in it is not converted. Asked once for each database; no test makes one name twice with two encodings.
fn encoding(place: Place<'_>) -> String {
    static KNOWN: Mutex<BTreeMap<(u16, String), String>> = Mutex::new(BTreeMap::new());
    let key = (place.cluster.port(), place.database.to_owned());
    if let Some(known) = KNOWN.lock().unwrap().get(&key) {
        return known.clone();
    }
    let of = format!("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = '{}'", place.database);
    let found = place.cluster.query("postgres", &of);
    KNOWN.lock().unwrap().insert(key, found.clone());
    found
}

fn bytes_of(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = run_with_input(command, input);
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a script of bytes, in the database's own encoding, with the usual search path.
pub fn run(place: Place<'_>, script: &[u8]) {
    bytes_of(psql_command(place).args(["-c", "SET search_path = public", "-f", "-"]), script);
}
