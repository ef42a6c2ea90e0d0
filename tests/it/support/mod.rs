//! What the tests stand on: PostgreSQL servers, stores and a working directory, made for one test and gone after it.
//!
//! Nothing here uses the library under test: these are the oracle. Every process and directory is watched by a
//! [`Watchdog`], so that a killed test process leaves nothing behind either.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

mod browser;
mod cached;
mod cluster;
mod cutting_proxy;
mod database;
mod direct;
mod leftovers;
mod long;
mod no_gap;
mod oracle;
mod pgbouncer;
mod programs;
mod project;
mod redact;
mod rehearsed;
mod running;
mod scene;
mod standby;
mod store;
mod store_faults;
mod watchdog;
mod writers;

pub use browser::Browser;
pub use cached::{COPIED, Cached, KEPT, RESTORED, description};
pub use cluster::{TestCluster, Version, with_templates};
pub use cutting_proxy::{Cut, CutAt, CuttingProxy};
pub use database::{TestDatabase, TestRole};
pub use leftovers::ShadowDirectory;
pub use long::{is_long, only_in_the_long_form, rounds};
pub use no_gap::{SEES, seen_and_kept, writers, written};
pub use oracle::{Contents, dump_and_restore};
pub use pgbouncer::{PgBouncer, PoolMode};
pub use programs::{clean_command, output_of, run_with_input, tool};
pub use project::{Output, Project, binary};
pub use rehearsed::Rehearsed;
pub use running::Running;
pub use scene::{DATA_MAY_GO, Scene};
pub use standby::Standby;
pub use store::{TestStore, chunk_key};
pub use store_faults::{StoreFault, StoreFaults};
pub use writers::{Client, Writer};
