//! Running squawk's rules on a section.

use std::collections::BTreeMap;

use squawk_linter::{Linter, LinterSettings};
use squawk_syntax::SourceFile;
use squawk_syntax::ast::{self, AstNode};

use super::super::parsed::{Parsed, last_name};
use super::{Check, Hit, Rule, Subject, rules};
use crate::lint::history::History;
use crate::lint::section::SectionFacts;
use crate::migration::Section;

/// What squawk finds in a section, by statement. It sees the section whole: some of its rules look at the statements before.
pub(in super::super) fn violations(
    section: &Section,
    facts: &SectionFacts,
    history: &History,
) -> BTreeMap<usize, Vec<(&'static Rule, Hit)>> {
    let (text, starts) = (&facts.text, &facts.starts);
    let wanted: Vec<(&'static Rule, squawk_linter::Rule)> = rules()
        .filter_map(|rule| match rule.check {
            Check::Squawk(squawk) => Some((rule, squawk)),
            _ => None,
        })
        .collect();
    let mut linter = Linter::from(wanted.iter().map(|(_, squawk)| *squawk));
    linter.settings = LinterSettings { assume_in_transaction: section.transaction, ..LinterSettings::default() };
    let mut found: BTreeMap<usize, Vec<(&'static Rule, Hit)>> = BTreeMap::new();
    for violation in linter.lint(&SourceFile::parse(text), text) {
        let Some((rule, _)) = wanted.iter().find(|(_, squawk)| *squawk == violation.code) else { continue };
        let at = usize::from(violation.text_range.start());
        let index = starts.partition_point(|start| *start <= at).saturating_sub(1);
        let (Some(one), Some(start)) = (section.statements.get(index), starts.get(index)) else { continue };
        let parsed = Parsed::new(one);
        if is_wrong(rule.code, &parsed) {
            continue;
        }
        let table = table_of(&parsed);
        if rule.subject == Subject::Rows && table.iter().any(|table| history.new_tables.contains(table)) {
            continue;
        }
        let lines_down = text.get(*start..at).map_or(0, |before| before.matches('\n').count() as u32);
        let objects = table.into_iter().collect();
        // squawk's own sentences are long, and its advice is for a tool without a rehearsal.
        let hit = Hit { message: rule.title.to_owned(), lines_down, objects };
        found.entry(index).or_default().push((*rule, hit));
    }
    found
}

/// What squawk does not tell apart: a generated column that is not stored writes nothing, and a constraint NOT VALID reads
/// nothing.
fn is_wrong(code: &str, parsed: &Parsed<'_>) -> bool {
    match code {
        "adding-field-with-default" => parsed.says(&["VIRTUAL"]) && !parsed.says(&["STORED"]),
        // No query names an index.
        "renaming-object" => parsed.says(&["ALTER", "INDEX"]),
        "ban-alter-domain-with-add-constraint" => parsed.says(&["NOT", "VALID"]),
        _ => false,
    }
}

fn table_of(parsed: &Parsed<'_>) -> Option<String> {
    let index = parsed.first::<ast::CreateIndex>().and_then(|index| last_name(index.table_relation_name()?.syntax()));
    index.or_else(|| parsed.altered_table().map(|(_, table)| table))
}
