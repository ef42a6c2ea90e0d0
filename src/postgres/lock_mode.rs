//! The eight table-level lock modes and which of them conflict.
//!
//! From PostgreSQL's documentation, "Explicit Locking", table 13.2; a test compares the table with a live server.

use std::fmt;

/// A table-level lock mode, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Taken by `SELECT`.
    AccessShare,
    /// Taken by `SELECT … FOR UPDATE`, `FOR SHARE` and their kin.
    RowShare,
    /// Taken by `INSERT`, `UPDATE`, `DELETE`, `MERGE`.
    RowExclusive,
    /// Taken by `VACUUM`, `ANALYZE`, `CREATE INDEX CONCURRENTLY`, `VALIDATE CONSTRAINT`.
    ShareUpdateExclusive,
    /// Taken by `CREATE INDEX`.
    Share,
    /// Taken by `CREATE TRIGGER` and, on both tables, by `ADD FOREIGN KEY`.
    ShareRowExclusive,
    /// Taken by `REFRESH MATERIALIZED VIEW CONCURRENTLY`.
    Exclusive,
    /// Taken by `DROP`, `TRUNCATE` and most of `ALTER TABLE`.
    AccessExclusive,
}

use LockMode::{
    AccessExclusive, AccessShare, Exclusive, RowExclusive, RowShare, Share, ShareRowExclusive, ShareUpdateExclusive,
};

/// Each mode: its name in SQL, its name in `pg_locks`, and the modes that wait for it.
const MODES: [(LockMode, &str, &str, &[LockMode]); 8] = [
    (AccessShare, "ACCESS SHARE", "AccessShareLock", &[AccessExclusive]),
    (RowShare, "ROW SHARE", "RowShareLock", &[Exclusive, AccessExclusive]),
    (RowExclusive, "ROW EXCLUSIVE", "RowExclusiveLock", &[Share, ShareRowExclusive, Exclusive, AccessExclusive]),
    (
        ShareUpdateExclusive,
        "SHARE UPDATE EXCLUSIVE",
        "ShareUpdateExclusiveLock",
        &[ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive],
    ),
    (Share, "SHARE", "ShareLock", &[RowExclusive, ShareUpdateExclusive, ShareRowExclusive, Exclusive, AccessExclusive]),
    (
        ShareRowExclusive,
        "SHARE ROW EXCLUSIVE",
        "ShareRowExclusiveLock",
        &[RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive],
    ),
    (
        Exclusive,
        "EXCLUSIVE",
        "ExclusiveLock",
        &[RowShare, RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive],
    ),
    (
        AccessExclusive,
        "ACCESS EXCLUSIVE",
        "AccessExclusiveLock",
        &[
            AccessShare,
            RowShare,
            RowExclusive,
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ],
    ),
];

impl LockMode {
    /// All modes, weakest first.
    pub const ALL: [Self; 8] = [
        AccessShare,
        RowShare,
        RowExclusive,
        ShareUpdateExclusive,
        Share,
        ShareRowExclusive,
        Exclusive,
        AccessExclusive,
    ];

    fn row(self) -> &'static (LockMode, &'static str, &'static str, &'static [LockMode]) {
        &MODES[self as usize]
    }

    /// Name as `LOCK TABLE … IN … MODE` spells it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The mode of that name in `pg_locks.mode`; none for what is no table lock (`SIReadLock`).
    pub fn from_catalog(name: &str) -> Option<Self> {
        MODES.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// Whether a session that wants `other` waits while another one holds this.
    pub fn conflicts_with(self, other: Self) -> bool {
        self.row().3.contains(&other)
    }

    /// Whether the application's queries or writes wait for it.
    pub fn blocks_application(self) -> bool {
        [AccessShare, RowShare, RowExclusive].iter().any(|wanted| self.conflicts_with(*wanted))
    }

    /// What waits for it, in words.
    pub fn blocks(self) -> &'static str {
        if self.conflicts_with(AccessShare) {
            "reads and writes"
        } else if self.conflicts_with(RowShare) {
            "writes and SELECT FOR UPDATE"
        } else if self.conflicts_with(RowExclusive) {
            "writes"
        } else if self.conflicts_with(ShareUpdateExclusive) {
            "schema changes and vacuum"
        } else {
            "schema changes"
        }
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_symmetric() {
        for (row, mode) in MODES.iter().zip(LockMode::ALL) {
            assert_eq!(row.0, mode);
            assert_eq!(LockMode::from_catalog(row.2), Some(mode));
            for other in LockMode::ALL {
                assert_eq!(mode.conflicts_with(other), other.conflicts_with(mode), "{mode}, {other}");
            }
        }
        assert_eq!(LockMode::from_catalog("SIReadLock"), None);
    }

    #[test]
    fn what_waits_is_said_in_the_applications_words() {
        let words: Vec<_> = LockMode::ALL.iter().map(|mode| (mode.blocks(), mode.blocks_application())).collect();
        let expected = [
            ("schema changes", false),
            ("schema changes", false),
            ("schema changes", false),
            ("schema changes and vacuum", false),
            ("writes", true),
            ("writes", true),
            ("writes and SELECT FOR UPDATE", true),
            ("reads and writes", true),
        ];
        assert_eq!(words, expected);
    }
}
