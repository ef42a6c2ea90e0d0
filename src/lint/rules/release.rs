//! What breaks the release that is running, and what leaves no way back.

use squawk_syntax::ast::{self, AstNode};

use super::super::level::Level;
use super::super::parsed::list;
use super::{Check, Hit, Place, Rule, Subject};
use crate::migration::Migration;

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
    migration.down.is_none().then(|| "there is no down section: only a restore undoes it".to_owned())
}

fn empty_down(migration: &Migration) -> Option<String> {
    let empty = migration.down.as_ref().is_some_and(|down| down.statements.is_empty());
    (empty && !migration.up.statements.is_empty()).then(|| "the down section undoes nothing".to_owned())
}
