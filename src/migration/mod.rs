//! Migration files, their graph, plans and checksums (pure: no tokio, no SQL is sent from here).
