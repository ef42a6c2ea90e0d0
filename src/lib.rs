//! Migrations of a PostgreSQL database, wrapped in a snapshot, rehearsed on a copy, undone by one command.
//!
//! # The pipeline
//! `apply` takes the lock, reads the ledger and the migration files, and makes a plan. It takes a snapshot of
//! production, publishes it and reads it back; restores that very snapshot into a shadow and runs the plan there;
//! asks; and only then runs the plan in production, each migration together with its ledger row. Afterwards the
//! schema of production must equal the rehearsed one. `restore` fills a new database from a snapshot, proves it and
//! swaps the names.
//!
//! # Glossary
//! *Migration*: one file `app/NNNN_name`. *Plan*: the ordered steps from the ledger's state to a target. *Ledger*:
//! what is applied, kept in the database. *Run*: one apply, rollback or restore. *Snapshot*: one consistent copy of
//! one database. *Chunk*: one content-addressed object. *Manifest*: the description of a snapshot. *Source*: the
//! configured name of the database that a snapshot came from. *Store*: where snapshots live. *Shadow*: the throwaway
//! database of a rehearsal. *Receipt*: the part of a rehearsal's report that `apply` trusts. *Fingerprint*: the hash
//! of a schema. *Drift*: the fingerprint is not the one the ledger recorded. *Gate*: a condition that stops a run. *Fence*:
//! blocking writers.
//!
//! # Layers
//! | layer | what it does | may use |
//! |---|---|---|
//! | [`cli`] | parses, prints, prompts, reads the environment | everything |
//! | [`workflow`] | the promises: snapshot, rehearse, apply, roll back, restore | all but `cli` |
//! | [`lint`], [`report`] | findings from SQL text; values to text (pure) | `migration`, `schema` |
//! | [`snapshot`] | the format: manifest, chunks, writer, reader, verify | `store`, `signing` |
//! | [`store`] | objects: local directory, S3, retry | `signing` |
//! | [`signing`] | who wrote what lies in a store (pure) | |
//! | [`postgres`] | SQL text, the connection, the `pg_*` programs | `migration`, `schema` |
//! | [`migration`], [`schema`] | files, graph, plan; entries, fingerprint, difference (pure) | |

pub mod cli;
pub mod fault;
pub mod lint;
pub mod migration;
pub mod postgres;
pub mod report;
pub mod schema;
pub mod signing;
pub mod snapshot;
pub mod store;
pub mod workflow;
