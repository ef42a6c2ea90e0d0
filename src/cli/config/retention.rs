//! `[retention]`: how many snapshots stay.

use std::time::Duration;

use serde::Deserialize;

use super::quantity;

/// `[retention]`; flags of the command go before it, key by key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSection {
    pub(crate) keep_last: Option<u32>,
    pub(crate) keep_hourly: Option<u32>,
    pub(crate) keep_daily: Option<u32>,
    pub(crate) keep_weekly: Option<u32>,
    pub(crate) keep_monthly: Option<u32>,
    pub(crate) keep_yearly: Option<u32>,
    #[serde(deserialize_with = "quantity::duration")]
    pub(crate) keep_within: Option<Duration>,
    pub(crate) keep_before_runs: Option<u32>,
    pub(crate) keep_proven: Option<u32>,
    pub(crate) max_remove: Option<u32>,
}
