//! What breaks the release that is running, and what leaves no way back.

use squawk_syntax::ast::{self, AstNode};

use super::super::level::Level;
use super::super::parsed::{Parsed, list, tokens};
use super::{Check, Hit, Place, Rule, Subject};
use crate::migration::{Migration, Statement};

const RENAME: &str = "add the new name beside the old one, move the application over, then drop the old one; \
                      or say what breaks with `-- breaking: who`";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "rename-table",
        title: "the release that is running still uses the old name of a table",
        remedy: RENAME,
        bad: "ALTER TABLE dish RENAME TO meal;",
        good: "CREATE VIEW meal AS SELECT * FROM dish;",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Statement(rename_table),
    },
    Rule {
        code: "rename-column",
        title: "the release that is running still uses the old name of a column",
        remedy: RENAME,
        bad: "ALTER TABLE dish RENAME COLUMN name TO title;",
        good: "-- breaking: releases before 3.2 read dish.name\n-- migrate:up\nALTER TABLE dish RENAME COLUMN name TO title;\n\
               -- migrate:down\nALTER TABLE dish RENAME COLUMN title TO name;\n",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Statement(rename_column),
    },
    Rule {
        code: "not-carried-over",
        title: "the tool that this migration was imported from did something that its SQL does not",
        remedy: "write it as SQL or as a program (`-- migrate:up exec: …`), and take the `-- not-carried:` line away",
        bad: "-- not-carried: RunPython fill_slugs\n-- migrate:up\n-- migrate:down\n",
        good: "-- migrate:up\nUPDATE dish SET slug = lower(name);\n-- migrate:down\nUPDATE dish SET slug = NULL;\n",
        level: Level::Deny,
        subject: Subject::Text,
        check: Check::Migration(not_carried),
    },
    Rule {
        code: "destroys-outside-the-snapshot",
        title: "takes away what no snapshot of the database holds",
        remedy: "do it by hand, when nothing needs it any more; if it is meant here, say so with `-- allow: CODE why`",
        bad: "DROP ROLE cook;",
        good: "REVOKE ALL ON menu FROM cook;",
        level: Level::Deny,
        subject: Subject::Text,
        check: Check::Statement(destroys_outside_the_snapshot),
    },
    Rule {
        code: "outside-the-snapshot",
        title: "changes what no snapshot of the database holds, so no restore undoes it",
        remedy: "write the down section that undoes it, and see that it can run twice",
        bad: "ALTER ROLE cook SET search_path = menu;",
        good: "GRANT SELECT ON menu TO cook;",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Statement(outside_the_snapshot),
    },
    Rule {
        code: "missing-down",
        title: "the migration has no `-- migrate:down` section, so only a restore undoes it",
        remedy: "write the statements that undo it below `-- migrate:down`",
        bad: "-- migrate:up\nALTER TABLE dish ADD COLUMN note text;\n",
        good: "-- migrate:up\nALTER TABLE dish ADD COLUMN note text;\n-- migrate:down\nALTER TABLE dish DROP COLUMN note;\n",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Migration(missing_down),
    },
    Rule {
        code: "empty-down",
        title: "the down section is empty, and the up section is not",
        remedy: "write the statements that undo it, or leave the section out if nothing can",
        bad: "-- migrate:up\nALTER TABLE dish ADD COLUMN note text;\n-- migrate:down\n",
        good: "-- migrate:up\nALTER TABLE dish ADD COLUMN note text;\n-- migrate:down\nALTER TABLE dish DROP COLUMN note;\n",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Migration(empty_down),
    },
];

fn rename_table(place: &Place<'_>) -> Vec<Hit> {
    let said = !place.migration.breaking.is_empty();
    let Some((alter, table)) = place.parsed().altered_table().filter(|(_, table)| !said && place.is_old(table)) else {
        return Vec::new();
    };
    let renames = place.parsed().nodes::<ast::TableRenameTo>();
    let message = || format!("a release that uses {} fails from here on", list(alter.table_relation_name()));
    renames.map(|rename| place.hit(rename.syntax(), &table, message())).collect()
}

fn rename_column(place: &Place<'_>) -> Vec<Hit> {
    let said = !place.migration.breaking.is_empty();
    let Some((_, table)) = place.parsed().altered_table().filter(|(_, table)| !said && place.is_old(table)) else {
        return Vec::new();
    };
    let renames = place.parsed().nodes::<ast::RenameColumn>();
    let hit = |rename: ast::RenameColumn| {
        let message = format!("a release that uses {table}.{} fails from here on", list(rename.column_name_ref()));
        place.hit(rename.syntax(), &table, message)
    };
    renames.map(hit).collect()
}

fn not_carried(migration: &Migration) -> Option<String> {
    let what = &migration.not_carried;
    (!what.is_empty()).then(|| format!("{} was not carried over", what.join(", ")))
}

fn missing_down(migration: &Migration) -> Option<String> {
    if migration.down.is_some() {
        return None;
    }
    // Rows are not parsed once more for that.
    let may_be = |one: &&Statement| !one.text.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("INSERT"));
    let outside = migration.up.statements.iter().filter(may_be).any(|one| kind_outside(&Parsed::new(one)).is_some());
    let way_back = if outside { "no restore undoes all of it either" } else { "only a restore undoes it" };
    Some(format!("there is no down section: {way_back}"))
}

/// What a statement does that lies outside of the database, and so outside of every snapshot of it; whether it destroys.
fn kind_outside(parsed: &Parsed<'_>) -> Option<(&'static str, bool)> {
    const KINDS: &[(&str, &str, &str, bool)] = &[
        ("ALTER", "SYSTEM", "a setting of the whole server", true),
        ("DROP", "ROLE", "a role of the whole server", true),
        ("DROP", "USER", "a role of the whole server", true),
        ("DROP", "GROUP", "a role of the whole server", true),
        ("DROP", "TABLESPACE", "a tablespace of the server", true),
        ("ALTER", "ROLE", "a role of the whole server", false),
        ("ALTER", "USER", "a role of the whole server", false),
        ("ALTER", "GROUP", "a role of the whole server", false),
        ("CREATE", "ROLE", "a role of the whole server", false),
        ("CREATE", "USER", "a role of the whole server", false),
        ("CREATE", "GROUP", "a role of the whole server", false),
        ("ALTER", "DATABASE", "a setting of the database, which is none of its contents", false),
        ("CREATE", "DATABASE", "another database", false),
        ("CREATE", "TABLESPACE", "a tablespace of the server", false),
        ("ALTER", "TABLESPACE", "a tablespace of the server", false),
    ];
    let words: Vec<String> = tokens(&parsed.root).take(3).map(|token| token.text().to_ascii_uppercase()).collect();
    let [first, second, rest @ ..] = words.as_slice() else { return None };
    // A user mapping is of this database.
    if rest.first().is_some_and(|third| third == "MAPPING") {
        return None;
    }
    let kind = KINDS.iter().find(|(one, other, ..)| one == first && other == second)?;
    Some((kind.2, kind.3))
}

fn outside(place: &Place<'_>, destroys: bool) -> Vec<Hit> {
    let Some((what, _)) = kind_outside(place.parsed()).filter(|(_, kind)| *kind == destroys) else { return Vec::new() };
    let message = format!("changes {what}: no restore of a snapshot undoes it");
    vec![place.hit(&place.parsed().root, "", message)]
}

fn outside_the_snapshot(place: &Place<'_>) -> Vec<Hit> {
    outside(place, false)
}

fn destroys_outside_the_snapshot(place: &Place<'_>) -> Vec<Hit> {
    outside(place, true)
}

fn empty_down(migration: &Migration) -> Option<String> {
    let empty = migration.down.as_ref().is_some_and(|down| down.statements.is_empty());
    (empty && !migration.up.statements.is_empty()).then(|| "the down section undoes nothing".to_owned())
}
