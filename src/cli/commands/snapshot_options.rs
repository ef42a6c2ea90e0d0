//! Options of every command that may take a snapshot.

use crate::cli::config::{COMPRESSION, SnapshotConfig, parse_rate};

/// How a snapshot is taken.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "When a snapshot is taken")]
pub(crate) struct SnapshotOptions {
    /// Level of zstd, from 1 (fast) to 19 (small) [default: 1]
    #[arg(long, value_name = "LEVEL", value_parser = parse_compression)]
    pub(crate) compression: Option<i32>,
    /// Read rows from production no faster than this, for example `50MB/s`; `0` for no limit
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) max_rate: Option<u64>,
}

impl SnapshotOptions {
    /// What was typed wins over the file.
    pub(crate) fn override_config(&self, config: &mut SnapshotConfig) {
        config.compression = self.compression.unwrap_or(config.compression);
        if let Some(rate) = self.max_rate {
            config.max_rate = (rate > 0).then_some(rate);
        }
    }
}

fn parse_compression(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| COMPRESSION.contains(level));
    level.ok_or_else(|| format!("a number from {} to {} is wanted", COMPRESSION.start(), COMPRESSION.end()))
}
