//! The only place with SQL text, the PostgreSQL client and the `pg_*` programs.
