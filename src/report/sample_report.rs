//! Reports for the tests of the formats.

use serde_json::json;

use super::rehearsal::RehearsalReport;

/// What a name may hold and no format may let through.
pub(super) const HOSTILE: &str = "x%<script>alert(1)</script>\" onmouseover=\"y|z`@team #12\n::error::é\u{202e}";

/// A value of a row, which only samples show.
pub(super) const SECRET: &str = "0788-secret";

/// A plan that went through, blocks readers and loses a table.
pub(super) fn plain() -> RehearsalReport {
    let lock = json!({ "relation": "public.orders", "mode": "ACCESS EXCLUSIVE", "held_milliseconds": 4200.0,
        "blocks": "reads and writes", "starts_at_milliseconds": 10.0, "line": 3 });
    let size = json!({ "relation": "public.orders", "before": 1_000_000, "after": 2_000_000 });
    let report = json!({
        "schema": 1, "id": "20261122T135823Z-7f3a9c", "source": "shop", "snapshot": "20261122T135000Z-7f3a9d",
        "direction": "apply", "plan_hash": "ab12", "starting_fingerprint": {"hash": "cd34"}, "server_major": 15,
        "started_at": "2026-11-22T13:58:23Z", "finished_at": "2026-11-22T13:58:29Z",
        "steps": [{ "migration": "shop/0002_x", "milliseconds": 4210.0, "elapsed_milliseconds": 4220.0, "wal_bytes": 9,
            "blocking_locks": [lock],
            "statements": [
                { "line": 3, "text": "ALTER TABLE orders ALTER id TYPE bigint", "milliseconds": 4200.0, "rows": 0,
                  "starts_at_milliseconds": 10.0, "locks": [lock], "rewritten": ["public.orders"], "sizes": [size] },
                { "line": 4, "text": "DROP TABLE old", "milliseconds": 0.4, "rows": 0 },
            ] }],
        "row_changes": [{ "table": "public.old", "before": 2, "after": 0 }],
        "value_changes": [{ "column": "public.orders.note", "changed": 1234, "emptied": 0, "filled": 5,
            "other_type": false, "without_key": false, "samples": [format!("{SECRET} -> x")] }],
        "losses": [{ "object": "public.old", "amount": 2, "what": "table public.old is gone with 2 rows", "samples": [SECRET] }],
        "compared": ["public.old", "public.orders"],
        "way_back": { "result": "irreversible", "why": "shop/0002_x has no down section" },
        "ways_back": [{ "migration": "shop/0002_x", "verdict": "not_reversible", "why": ["it has no down section"],
            "losses": [], "notes": [], "not_deterministic": [] }],
        "findings": [
            { "code": "drop-table", "level": "warn", "evidence": "static", "migration": "shop/0002_x",
              "file": "migrations/shop/0002_x.sql", "line": 4, "message": "drops the table old with all its rows",
              "remedy": "Rename it first." },
            { "code": "check-failed", "level": "note", "evidence": "measured", "message": "check a.sql returns 1 row" },
            { "code": "rewrite", "level": "deny", "evidence": "measured", "migration": "shop/0002_x",
              "file": "migrations/shop/0002_x.sql", "line": 3, "message": "rewrites orders", "allowed": "it is small" },
        ],
        "failure": null, "verdict": "pass_with_findings", "tables": [size], "server_version": "15.20",
        "tool_version": "0.1.0", "snapshot_taken_at": "2026-11-22T13:50:02Z", "shadow": ["it has no network"],
        "checks": [{ "file": "shop/checks/a.sql", "before": { "rows": 1 }, "after": { "rows": 1, "samples": [SECRET] } }],
    });
    serde_json::from_value(report).unwrap()
}

/// One that failed, with [`HOSTILE`] for every text.
pub(super) fn hostile() -> RehearsalReport {
    let mut report = serde_json::to_value(plain()).unwrap();
    replace(&mut report);
    report["direction"] = json!("apply");
    report["verdict"] = json!("fail");
    report["failure"] = json!(HOSTILE);
    report["failed_at"] = json!({ "migration": HOSTILE, "file": HOSTILE, "line": 3, "statement": HOSTILE });
    for finding in report["findings"].as_array_mut().unwrap() {
        finding["allowed"] = json!(null);
        finding["level"] = json!("warn");
    }
    serde_json::from_value(report).unwrap()
}

/// Puts the hostile text wherever a text is free.
fn replace(value: &mut serde_json::Value) {
    const FIXED: [&str; 9] = [
        "plan_hash",
        "started_at",
        "finished_at",
        "snapshot_taken_at",
        "level",
        "evidence",
        "verdict",
        "result",
        "failure",
    ];
    match value {
        serde_json::Value::String(text) => *text = HOSTILE.to_owned(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(replace),
        serde_json::Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| !FIXED.contains(&name.as_str())).for_each(|(_, value)| replace(value));
        }
        _ => {}
    }
}
