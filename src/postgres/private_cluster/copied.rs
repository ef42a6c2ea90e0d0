//! A private cluster whose files are copied: away from it while its server is stopped, or into it instead of `initdb`.

use super::{ClusterError, ClusterOptions, PrivateCluster, data_directory, hand_over};
use std::path::PathBuf;
use std::process::Stdio;

/// What of a stopped cluster makes a complete copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedCluster {
    /// The data directory.
    pub data: PathBuf,
    wal_file: String,
}

impl StoppedCluster {
    /// Whether a copy does without this file, named by its path below the data directory.
    ///
    /// Segments of the write-ahead log before the last checkpoint, and those made in advance, hold nothing that a cleanly
    /// stopped server reads; a large load leaves gigabytes of them. The record of the checkpoint may end in the next one.
    pub fn is_needless(&self, path: &str) -> bool {
        if ["postmaster.pid", "postmaster.opts"].contains(&path) {
            return true;
        }
        let Some(name) = path.strip_prefix("pg_wal/") else { return false };
        let is_segment = name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_segment && *name != *self.wal_file && Some(name) != next_segment(&self.wal_file).as_deref()
    }
}

/// The name of the segment after this one, in segments of 16 MiB as `initdb` makes them: timeline, then two halves of which
/// the lower one counts to 255.
fn next_segment(name: &str) -> Option<String> {
    let number = |range: std::ops::Range<usize>| u32::from_str_radix(name.get(range)?, 16).ok();
    let (timeline, high, low) = (name.get(..8)?, number(8..16)?, number(16..24)?);
    Some(if low < 0xFF {
        format!("{timeline}{high:08X}{:08X}", low + 1)
    } else {
        format!("{timeline}{:08X}{:08X}", high.checked_add(1)?, 0)
    })
}

impl PrivateCluster {
    /// Makes the directory of a cluster whose data directory will be a copy of another one. [`PrivateCluster::resume`]
    /// starts it with the settings of the copy, [`PrivateCluster::start_first`] one whose original was never started.
    pub fn for_copy(options: ClusterOptions) -> Result<Self, ClusterError> {
        let cluster = Self::prepare(options)?;
        if let Some(accounts) = &cluster.server.accounts {
            hand_over(&cluster.server.dir, &accounts.runner)?;
        }
        Ok(cluster)
    }

    /// Its data directory.
    pub fn data_directory(&self) -> PathBuf {
        data_directory(&self.server.dir)
    }

    /// User and group of the operating system that its files must belong to, where they are not those of this process.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.server.accounts.as_ref().map(|accounts| (accounts.runner.uid, accounts.runner.gid))
    }

    /// Stops the server cleanly, so that its files are all there is; every session ends.
    pub async fn pause(&mut self) -> Result<StoppedCluster, ClusterError> {
        self.server.stop_cleanly().await;
        self.stopped().await
    }

    /// The files of a cluster whose server does not run and was stopped cleanly, or was never started.
    pub async fn stopped(&self) -> Result<StoppedCluster, ClusterError> {
        let data = self.data_directory();
        let control = self.control_data().await?;
        let value = |label: &str| {
            let line = control.lines().find_map(|line| line.strip_prefix(label));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let (state, wal_file) = (value("Database cluster state:"), value("Latest checkpoint's REDO WAL file:"));
        if state != "shut down" || wal_file.len() != 24 {
            return Err(ClusterError::NotCleanlyStopped { state });
        }
        Ok(StoppedCluster { data, wal_file })
    }

    /// Starts the server on the files that are there, and waits until a connection to this database is accepted.
    pub async fn resume(&mut self, database: &str) -> Result<(), ClusterError> {
        // A copy still names the directory of its original.
        self.server.configure(&[], false)?;
        self.launch(database).await
    }

    async fn control_data(&self) -> Result<String, ClusterError> {
        let mut command = self.server.programs.command("pg_controldata");
        command.arg("-D").arg(self.data_directory()).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|source| ClusterError::Spawn {
            program: self.server.programs.dir().join("pg_controldata"),
            source,
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{options, start_cluster};
    use super::*;

    #[test]
    fn only_the_segments_of_the_last_checkpoint_are_needed() {
        let wal_file = "0000000100000000000000FF".to_owned();
        let stopped = StoppedCluster { data: PathBuf::new(), wal_file };
        for (path, needless) in [
            ("pg_wal/0000000100000000000000FE", true),
            ("pg_wal/0000000100000000000000FF", false),
            ("pg_wal/000000010000000100000000", false),
            ("pg_wal/000000010000000100000001", true),
            ("pg_wal/00000002.history", false),
            ("base/1/1259", false),
            ("postmaster.pid", true),
        ] {
            assert_eq!(stopped.is_needless(path), needless, "{path}");
        }
    }

    #[tokio::test]
    async fn a_copy_of_a_stopped_cluster_has_its_rows_and_both_run() {
        let mut original = start_cluster().await;
        let session = original.spec("postgres").connect("test").await.unwrap();
        session.batch_execute("CREATE TABLE public.kept AS SELECT * FROM generate_series(1, 1000) i").await.unwrap();
        session.close().await;
        let stopped = original.pause().await.unwrap();
        let mut copy = PrivateCluster::for_copy(options(&std::env::temp_dir())).unwrap();
        let mut command = std::process::Command::new("cp");
        assert!(command.arg("-a").arg(&stopped.data).arg(copy.data_directory()).status().unwrap().success());
        if let Some(accounts) = &copy.server.accounts {
            hand_over(copy.dir(), &accounts.runner).unwrap();
        }
        for entry in std::fs::read_dir(copy.data_directory().join("pg_wal")).unwrap() {
            let entry = entry.unwrap();
            if stopped.is_needless(&format!("pg_wal/{}", entry.file_name().to_str().unwrap())) {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        original.resume("postgres").await.unwrap();
        copy.resume("template1").await.unwrap();
        for cluster in [original, copy] {
            let session = cluster.spec("postgres").connect("test").await.unwrap();
            let rows: i64 = session.query_one("SELECT count(*) FROM public.kept", &[]).await.unwrap().get(0);
            assert_eq!(rows, 1000);
            session.close().await;
            cluster.stop().await.unwrap();
        }
    }
}
