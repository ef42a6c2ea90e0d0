//! The integration tests: real PostgreSQL, real stores, the real binary.
