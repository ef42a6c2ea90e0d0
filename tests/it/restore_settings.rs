//! Settings that a database or a role has of its own change how a server prints and reads; a snapshot of it is none the worse.

use crate::support::{Scene, Version};

/// Settings that no session would survive, or that this is not about.
const LEFT_OUT: &[&str] = &[
    // No session, or none that writes.
    "role",
    "session_authorization",
    "default_transaction_read_only",
    "session_preload_libraries",
    "local_preload_libraries",
    "transaction_read_only",
    "transaction_isolation",
    "transaction_deferrable",
    "seed",
    "is_superuser",
    // Ends sessions or statements after a millisecond.
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
    "deadlock_timeout",
    "tcp_user_timeout",
    "post_auth_delay",
    "pre_auth_delay",
    // Names of what is not there.
    "default_tablespace",
    "temp_tablespaces",
    "default_table_access_method",
    "search_path",
    "client_encoding",
    "lc_messages",
    "jit_provider",
    "dynamic_library_path",
    "extension_control_path",
    "restrict_nonsystem_relation_kind",
    "ignore_checksum_failure",
    "ignore_system_indexes",
    "zero_damaged_pages",
    "allow_system_table_mods",
    "event_triggers",
    "session_replication_role",
    "wal_consistency_checking",
    "default_text_search_config",
    "timezone_abbreviations",
    "backtrace_functions",
    "log_statement_sample_rate",
    "log_transaction_sample_rate",
];

/// All that is printed in more ways than one stands in the schema and in the rows.
const OBJECTS: &str = r#"
    CREATE TABLE visits (id int PRIMARY KEY, at timestamptz DEFAULT '2026-03-01 12:00:00+00', took interval DEFAULT '1 day 02:03:04',
        photo bytea DEFAULT '\x00ff41', weight float8 DEFAULT 0.1, price money DEFAULT 12.34, day date DEFAULT '2026-03-01',
        words text DEFAULT E'a\\b''c', tags text[] DEFAULT '{null,a}', flags bit(4) DEFAULT B'0101',
        CONSTRAINT late CHECK (at > '2000-01-01 00:00:00+00'::timestamptz), CONSTRAINT short CHECK (took < '3 mons'::interval),
        CONSTRAINT is_photo CHECK (photo <> '\x5c00'::bytea), CONSTRAINT nulls CHECK (words IS NOT NULL));
    INSERT INTO visits (id) SELECT generate_series(1, 20);
    INSERT INTO visits VALUES (0, 'infinity', '-1 mons +2 days -00:00:00.5', '\x5c', 'NaN', -0.5, 'infinity', E'\\', '{}', B'1111');
    CREATE TABLE days (at timestamptz NOT NULL, n float4) PARTITION BY RANGE (at);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00');
    CREATE TABLE days_2 PARTITION OF days DEFAULT;
    INSERT INTO days VALUES ('2026-01-15 10:00:00+00', 0.3), ('2027-01-15 10:00:00+00', 1e-30);
    CREATE INDEX recent ON visits (id) WHERE at > '2026-01-01 00:00:00+00'::timestamptz;
    CREATE VIEW lately AS SELECT id, at + '1 day'::interval AS then, '\x01'::bytea AS b FROM visits WHERE at > '2026-01-01 00:00:00+00'::timestamptz;
    CREATE MATERIALIZED VIEW totals AS SELECT date_trunc('day', at) AS day, count(*) FROM days GROUP BY 1;
    CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$ SELECT 'a\b'::text $$;
    COMMENT ON TABLE visits IS 'back\slash';"#;

/// Gives each setting that a session may change another value than it has.
fn statements(scene: &Scene, target: &str) -> Vec<String> {
    let rows = scene.database.query(
        "SELECT string_agg(concat_ws('|', name, vartype, setting, coalesce(min_val, ''), coalesce(max_val, ''), coalesce(array_to_string(enumvals, ','), '')), E'\n' ORDER BY name)
           FROM pg_settings WHERE context IN ('user', 'superuser') AND name NOT LIKE '%.%'",
    );
    let value = |kind: &str, now: &str, least: &str, most: &str, words: &str| match kind {
        "bool" => Some(if now == "on" { "off" } else { "on" }.to_owned()),
        "enum" => words.split(',').find(|word| *word != now && *word != "on" && *word != "off").map(str::to_owned),
        "integer" | "real" => Some(if now == least { most } else { least }.to_owned()),
        _ => None,
    };
    let strings = [
        ("TimeZone", "'Asia/Tokyo'"),
        ("DateStyle", "'German, DMY'"),
        ("lc_monetary", "'C'"),
        ("lc_numeric", "'C'"),
        ("lc_time", "'C'"),
    ];
    let chosen = rows.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        let [name, kind, now, least, most, words] = fields[..] else { return None };
        // What only costs time: compiled expressions, and what is logged.
        let costs = ["jit", "log_", "debug_", "enable_"].iter().any(|start| name.starts_with(start));
        if LEFT_OUT.contains(&name) || (costs && !crate::support::is_long()) {
            return None;
        }
        Some(format!("ALTER {target} SET \"{name}\" = '{}'", value(kind, now, least, most, words)?))
    });
    chosen.chain(strings.map(|(name, value)| format!("ALTER {target} SET \"{name}\" = {value}"))).collect()
}

fn are_no_difference(version: Version, of_role: bool) {
    let scene = Scene::on(&std::sync::Arc::new(crate::support::TestCluster::start(version, &[])));
    scene.database.sql(OBJECTS);
    scene.project.write_migration(
        "kitchen",
        "0001_n",
        "-- migrate:up\nALTER TABLE visits ADD COLUMN n int;\n-- migrate:down\nALTER TABLE visits DROP COLUMN n;\n",
    );
    let target = if of_role { "ROLE admin".to_owned() } else { format!("DATABASE {}", scene.database.name()) };
    let before = scene.take_snapshot();
    let mut set = 0;
    for statement in statements(&scene, &target) {
        set += u32::from(
            scene.cluster().try_sql("postgres", &format!("SET client_min_messages = error; {statement}")).is_ok(),
        );
    }
    assert!(set > if crate::support::is_long() { 140 } else { 80 }, "{set}");
    let id = scene.take_snapshot();
    for id in [&before, &id] {
        scene.run(0, &["snapshot", "verify", id, "--level", "restore"]);
    }
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &["rollback", "--last", "--yes"]);
}

#[test]
fn restore_settings_of_a_database_are_no_difference() {
    are_no_difference(Version::V15, false);
}

#[test]
fn restore_settings_of_a_database_are_no_difference_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    are_no_difference(Version::V18, false);
}

#[test]
fn restore_settings_of_a_role_are_no_difference() {
    are_no_difference(Version::V18, true);
}
