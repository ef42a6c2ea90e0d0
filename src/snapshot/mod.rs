//! The snapshot format: manifest, chunks, writer, reader, verification. Knows the store, not PostgreSQL.
