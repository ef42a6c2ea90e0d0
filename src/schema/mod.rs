//! The schema of a database as entries of a dump, its fingerprint, and the readable difference (pure).
