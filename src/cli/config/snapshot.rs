//! `[snapshot]`: how snapshots are taken.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::file::SnapshotSection;
use crate::cli::arguments::GlobalArguments;
use crate::cli::error::CliError;

/// The levels of zstd that are offered: those that its own program has without `--ultra`.
pub(crate) const COMPRESSION: RangeInclusive<i32> = 1..=19;

/// What a snapshot can be told to wait for a lock. To PostgreSQL a timeout of 0 is none, and a snapshot never waits for ever.
const LOCK_WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);

/// `[snapshot]`.
#[derive(Debug)]
pub(crate) struct SnapshotConfig {
    /// Parallel workers.
    pub(crate) jobs: usize,
    /// Level of zstd, one of [`COMPRESSION`].
    pub(crate) compression: i32,
    /// Bytes of rows per second that are read from production at most; `None`: as many as it gives.
    pub(crate) max_rate: Option<u64>,
    /// How long a snapshot waits for a lock that others hold, one of [`LOCK_WAIT`].
    pub(crate) lock_wait: Duration,
    /// How long others may wait for the locks of a snapshot; `None`: as long as it takes.
    pub(crate) max_block: Option<Duration>,
}

impl SnapshotConfig {
    /// Merges flags, the section and defaults; values out of range are refused.
    pub(super) fn merge(flags: &GlobalArguments, section: SnapshotSection) -> Result<SnapshotConfig, CliError> {
        // More workers than this only press harder on production while its users work.
        let default_jobs = std::thread::available_parallelism().map_or(1, NonZero::get).min(4);
        let jobs = flags.jobs.or(section.jobs).unwrap_or(default_jobs);
        let compression = section.compression.unwrap_or(1);
        if !(1..=64).contains(&jobs) {
            return Err(CliError::usage("config-invalid", format!("[snapshot] jobs is {jobs}; it must be 1 to 64")));
        }
        if !COMPRESSION.contains(&compression) {
            let (fast, small) = COMPRESSION.into_inner();
            let message = format!("[snapshot] compression is {compression}; it must be {fast} to {small}");
            return Err(CliError::usage("config-invalid", message));
        }
        let max_rate = section.max_rate.filter(|rate| *rate > 0);
        let lock_wait = section.lock_wait.unwrap_or(Duration::from_secs(10));
        if !LOCK_WAIT.contains(&lock_wait) {
            return Err(CliError::usage("config-invalid", "[snapshot] lock_wait must be 1ms to 1h"));
        }
        let max_block = section.max_block.unwrap_or(Duration::from_secs(30));
        let max_block = (!max_block.is_zero()).then_some(max_block);
        Ok(SnapshotConfig { jobs, compression, max_rate, lock_wait, max_block })
    }
}
