//! The integration tests: real PostgreSQL, real stores, the real binary.

// Here a panic is the failure report, and a cleanup that fails says so on stderr.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod architecture;
mod by_hand;
mod cli_apply;
mod cli_bad_input;
mod cli_bad_input_connection;
mod cli_bad_input_gates;
mod cli_bad_input_ledger;
mod cli_bad_input_migrations;
mod cli_bad_input_programs;
mod cli_bad_input_store;
mod cli_restore;
mod cli_rollback;
mod cli_snapshot_create;
mod cli_snapshot_export;
mod cli_snapshot_verify;
mod cli_store;
mod damage;
mod fidelity;
mod fingerprint;
mod kept_formats;
mod promise_01_snapshot_first;
mod promise_02_snapshots_restore;
mod promise_03_shadow_is_private;
mod promise_04_rehearsed_is_applied;
mod promise_05_known_state;
mod promise_06_restore_destroys_nothing;
mod promise_07_one_run_at_a_time;
mod promise_08_killed_at_any_instant;
mod promise_09_secrets;
mod rehearse_back;
mod rehearse_data;
mod restore_elsewhere;
mod restore_interrupted;
mod restore_killed;
mod restore_part_column;
mod restore_part_input;
mod restore_part_missing;
mod restore_part_table;
mod restore_plan;
mod restore_swap;
mod support;
mod support_selftest;
