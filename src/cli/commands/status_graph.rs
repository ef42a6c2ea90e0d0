//! `status --graph`: who depends on whom, for Graphviz and Mermaid.

use std::fmt::Write as _;

use clap::ValueEnum;

use super::status::{Row, Standing};
use crate::migration::{MigrationId, MigrationSet};

/// For which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Graphviz
    Dot,
    /// Mermaid, as Markdown pages show it
    Mermaid,
}

/// The migrations of these rows; an arrow goes from what comes first to what stands on it.
pub(super) fn text(format: GraphFormat, set: &MigrationSet, rows: &[Row]) -> String {
    let place = |id: &MigrationId| rows.iter().position(|row| row.id == *id);
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        edges.extend(set.dependencies(&row.id).iter().filter_map(place).map(|from| (from, at)));
    }
    match format {
        GraphFormat::Dot => dot(rows, &edges),
        GraphFormat::Mermaid => mermaid(rows, &edges),
    }
}

// Writing to a String cannot fail.
fn dot(rows: &[Row], edges: &[(usize, usize)]) -> String {
    let mut text = "digraph migrations {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for row in rows {
        let style = match row.standing {
            Standing::Applied => "style=filled, fillcolor=\"#d5f5d5\"",
            Standing::Pending => "style=dashed",
            Standing::HalfDone | Standing::Changed | Standing::Missing => "style=filled, fillcolor=\"#f5d5d5\"",
        };
        let _ = writeln!(text, "  \"{}\" [{style}];", row.id);
    }
    for (from, to) in edges {
        let _ = writeln!(text, "  \"{}\" -> \"{}\";", rows[*from].id, rows[*to].id);
    }
    text.push_str("}\n");
    text
}

fn mermaid(rows: &[Row], edges: &[(usize, usize)]) -> String {
    let mut text = "graph LR\n".to_owned();
    for (at, row) in rows.iter().enumerate() {
        let class = match row.standing {
            Standing::Applied => "applied",
            Standing::Pending => "pending",
            Standing::HalfDone | Standing::Changed | Standing::Missing => "wrong",
        };
        let _ = writeln!(text, "  m{at}[\"{}\"]:::{class}", row.id);
    }
    for (from, to) in edges {
        let _ = writeln!(text, "  m{from} --> m{to}");
    }
    text.push_str(
        "  classDef applied fill:#d5f5d5\n  classDef pending stroke-dasharray:4\n  classDef wrong fill:#f5d5d5\n",
    );
    text
}
