//! The settings of sessions that build indexes and check foreign keys, sized to the server.

use rustix::system::sysinfo;

use super::{ConnectionSpec, DatabaseError, Session};

/// More memory than this makes no index build quicker (1 GiB, in KiB).
const MOST: u64 = 1 << 20;

/// A connection whose sessions, `sessions` of them at a time, build indexes quickly.
///
/// Memory for sorting: a quarter of the machine's when the server is on this one, else of what the server's
/// `effective_cache_size` says, shared by the sessions; never less than the server's own setting. No parallel workers
/// where our sessions alone keep all cores busy: they cost more than they bring (1.5 GB, two cores: 20 s with them, 19 s
/// without).
pub async fn connection(
    spec: &ConnectionSpec,
    session: &Session,
    sessions: usize,
) -> Result<ConnectionSpec, DatabaseError> {
    let row = session
        .query_one(
            "SELECT max(setting::bigint) FILTER (WHERE name = 'maintenance_work_mem'),
                    max(setting::bigint * 8) FILTER (WHERE name = 'effective_cache_size')
               FROM pg_catalog.pg_settings WHERE name IN ('maintenance_work_mem', 'effective_cache_size')",
            &[],
        )
        .await?;
    let (own, cache) = (kib(row.get(0)), kib(row.get(1)));
    let machine = if spec.is_local() { memory_here() } else { cache };
    let memory = memory(own, machine, sessions);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let spec = spec.with_setting("maintenance_work_mem", &format!("{memory}kB"));
    let all_busy = spec.is_local() && sessions >= cores;
    Ok(if all_busy { spec.with_setting("max_parallel_maintenance_workers", "0") } else { spec })
}

/// KiB for each session.
fn memory(own: u64, machine: u64, sessions: usize) -> u64 {
    (machine / 4 / sessions.max(1) as u64).min(MOST).max(own)
}

fn kib(value: Option<i64>) -> u64 {
    value.and_then(|value| value.try_into().ok()).unwrap_or_default()
}

/// KiB of memory of this machine.
fn memory_here() -> u64 {
    let info = sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit)) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_and_bounded() {
        assert_eq!(memory(65_536, 24 << 20, 3), MOST);
        assert_eq!(memory(65_536, 4 << 20, 4), 256 << 10);
        assert_eq!(memory(65_536, 100_000, 4), 65_536);
        assert_eq!(memory(4 << 20, 24 << 20, 3), 4 << 20);
    }
}
