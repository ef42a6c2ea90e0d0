//! The object store: a local directory or S3, with retries. The only place with the S3 client.
