//! The gap: what was written between the snapshot and the migrations, which a restore would lose.

use crate::postgres::written::{Counters, wal_since};
use crate::report::{format_ago, format_bytes, format_things};

use super::super::Error;
use super::{Run, SnapshotChoice, SnapshotEvidence};

/// Tables that are named.
const NAMED: usize = 4;

impl Run<'_> {
    /// The server's counters as they stand now: just before the snapshot.
    pub(super) async fn written(&self) -> Result<Counters, Error> {
        Ok(Counters::read(self.aside()).await?)
    }

    /// Says how much was written since the snapshot.
    pub(super) async fn name_the_gap(&self, snapshot: &SnapshotEvidence, before: &Counters) -> Result<(), Error> {
        let SnapshotEvidence::Verified(snapshot) = snapshot else { return Ok(()) };
        let taken_now = self.request.snapshot == SnapshotChoice::New;
        if self.fence.is_some() && taken_now {
            self.operator.step("nothing was written since the snapshot: the fence stands since before it");
            return Ok(());
        }
        let log = wal_since(self.aside(), &snapshot.manifest().server.lsn).await?;
        let log = log.map_or_else(
            || "the server's log says nothing of the time since the snapshot".to_owned(),
            |bytes| format!("the server's log (WAL of all its databases) grew by {}", format_bytes(bytes)),
        );
        let ago = format_ago(snapshot.manifest().started_at, self.prepared.server.clock.now());
        if !taken_now {
            self.operator.warn(&format!(
                "the snapshot was taken {ago}; since then {log}; a restore would lose what was written to this database"
            ));
            return Ok(());
        }
        let now = Counters::read(self.aside()).await?;
        let written = now.since(before);
        let rows: u64 = written.iter().map(|(_, rows)| rows).sum();
        if rows == 0 {
            self.operator.step(&format!("no row was written since the snapshot; {log}"));
            return Ok(());
        }
        self.operator.warn(&format!(
            "about {} written since the snapshot began: {}; {log}; a restore would lose what is newer",
            format_things(rows, "row"),
            named(&written)
        ));
        Ok(())
    }
}

/// The busiest tables by name, the others counted.
fn named(written: &[(String, u64)]) -> String {
    let mut words: Vec<String> = written.iter().take(NAMED).map(|(table, rows)| format!("{table} {rows}")).collect();
    let others = &written[words.len()..];
    if !others.is_empty() {
        let rows: u64 = others.iter().map(|(_, rows)| rows).sum();
        words.push(format!("{} {rows}", format_things(others.len() as u64, "other table")));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_tables_are_named_and_the_others_counted() {
        let written: Vec<(String, u64)> = (1..=6).rev().map(|number| (format!("t{number}"), number * 10)).collect();
        assert_eq!(named(&written), "t6 60, t5 50, t4 40, t3 30, 2 other tables 30");
        assert_eq!(named(&written[..1]), "t6 60");
    }
}
