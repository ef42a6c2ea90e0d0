//! The plan of a restore in the operator's words, for the question, the dry run and the log alike.

use std::time::Duration;

use time::OffsetDateTime;

use crate::report::{format_ago, format_bytes, format_count, format_duration, format_things, format_time};

use super::RestorePlan;
use super::since::{Live, Since, TableChange};

/// Tables that are listed; the rest is a number.
const LISTED: usize = 10;

/// What the restore will do and what it would take back, a line each.
pub fn describe(plan: &RestorePlan) -> String {
    let mut lines = vec![
        format!(
            "snapshot {} of \"{}\", taken {} ({}) by {}",
            plan.snapshot,
            plan.of,
            format_time(plan.taken),
            format_ago(plan.taken, OffsetDateTime::now_utc()),
            plan.reason
        ),
        format!("{} in {}; {}; {}", format_things(plan.rows, "row"), format_bytes(plan.bytes), space(plan), time(plan)),
        match &plan.replaces {
            Some(live) => {
                format!("fills \"{}\", proves it and puts it in the place of \"{live}\", which is kept", plan.fills)
            }
            None => format!("fills the new database \"{}\" and proves it", plan.fills),
        },
    ];
    if let Some(free) = plan.space.free.filter(|free| *free < plan.space.needed) {
        let needed = format_bytes(plan.space.needed);
        lines.push(format!("NOT ENOUGH SPACE: about {needed} are needed and {} are free", format_bytes(free)));
    }
    if let Some(since) = &plan.since {
        lines.extend(changes(since, &plan.belongs_to));
    }
    lines.extend(lacks(plan));
    lines.join("\n") + "\n"
}

fn space(plan: &RestorePlan) -> String {
    let needed = format!("takes about {} of disk", format_bytes(plan.space.needed));
    match plan.space.free {
        Some(free) => format!("{needed}, {} free", format_bytes(free)),
        None => format!("{needed} (what is free there is not known here)"),
    }
}

fn time(plan: &RestorePlan) -> String {
    let about = format_duration(Duration::from_secs(plan.time.seconds));
    match plan.time.measured {
        true => format!("about {about}, as the last restore went"),
        false => format!("about {about} at an assumed rate (no restore was measured yet)"),
    }
}

fn changes(since: &Since, live: &str) -> Vec<String> {
    let mut lines = Vec::new();
    match &since.live {
        Live::Gone => lines.push(format!("database \"{live}\" does not exist, so nothing in it is taken back")),
        Live::Unreadable(why) => lines.push(format!("what changed in \"{live}\" since is not known: {why}")),
        Live::Read if since.tables.is_empty() => {
            lines.push(format!("{} with as many rows as then", format_things(since.same as u64, "table")));
        }
        Live::Read => {
            lines.push(format!("\"{live}\" now, against the snapshot:"));
            lines.extend(since.tables.iter().take(LISTED).map(|change| format!("  {}", table(change))));
            if since.tables.len() > LISTED {
                lines.push(format!("  and {} more", since.tables.len() - LISTED));
            }
        }
    }
    if since.live == Live::Read {
        lines.push("(rows are compared by their number; values changed in place are not seen here)".to_owned());
        lines.extend(migrations("applied since, and taken back", &since.applied));
        lines.extend(migrations("rolled back since, and brought back", &since.rolled_back));
        if !since.ledgers {
            lines.push("migrations since are not known: one of the two has no ledger that can be read".to_owned());
        }
    }
    lines
}

fn table(change: &TableChange) -> String {
    let about = if change.exact { "" } else { "about " };
    let name = &change.table;
    match (change.then, change.now) {
        (Some(then), Some(now)) => format!("{name}: {about}{}, then {}", format_things(now, "row"), format_count(then)),
        (Some(then), None) => format!("{name}: gone, then {}", format_things(then, "row")),
        (None, now) => format!("{name}: new, {about}{}", format_things(now.unwrap_or_default(), "row")),
    }
}

fn migrations(what: &str, ids: &[String]) -> Option<String> {
    if ids.is_empty() {
        return None;
    }
    let more = if ids.len() > LISTED { format!(" and {} more", ids.len() - LISTED) } else { String::new() };
    let shown = ids.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    Some(format!("{} {what}: {shown}{more}", format_things(ids.len() as u64, "migration")))
}

fn lacks(plan: &RestorePlan) -> Vec<String> {
    let roles = if plan.makes_roles { "roles that are made, without passwords" } else { "the server lacks roles" };
    let rights = match plan.not_allowed_is_certain {
        true => "this role may not",
        false => "this role may not be allowed to",
    };
    let code_runs = match plan.found_code.is_loaded_by_owners() {
        true => "functions of others that run as the owner of the table",
        false => "functions of roles that are not trusted, which would run with your rights",
    };
    let code = plan.foreign_code.iter().map(ToString::to_string).collect();
    let lists = [
        (roles, &plan.missing_roles),
        ("the server lacks extensions", &plan.missing_extensions),
        ("extensions in another version", &plan.other_extension_versions),
        (rights, &plan.not_allowed),
        ("set on the word of the snapshot alone", &plan.on_its_word),
        ("not set, because only the snapshot says so", &plan.not_believed),
        (code_runs, &code),
        ("left out, as asked for", &plan.left_out),
        ("in the way of the swap now", &plan.obstacles),
        ("standbys, whose sessions go on reading the old database until they end", &plan.standbys),
    ];
    lists
        .iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(what, items)| format!("{what}: {}", items.join(", ")))
        .collect()
}
