//! What a killed command may leave: files in a shadow directory of its own, and processes that name it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Project;

/// The shadow directory of one project only, so that what lies in it is of that project's commands.
pub struct ShadowDirectory {
    directory: tempfile::TempDir,
}

impl ShadowDirectory {
    /// Makes one and writes it into the project's configuration.
    pub fn of(project: &Project) -> ShadowDirectory {
        let directory = tempfile::Builder::new().prefix("test-shadow-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = std::fs::read_to_string(project.directory().join("safe-migrate.toml")).unwrap();
        let section = format!("[shadow]\ndir = \"{}\"\n", directory.path().display());
        project.configure(&text.replace("[shadow]\n", &section));
        with_known_templates(directory.path());
        ShadowDirectory { directory }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What lies in it, but the templates of empty servers, which stay.
    pub fn files(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| !path.ends_with(templates())).collect()
    }

    /// The arguments of the processes that name it or stand in it.
    pub fn processes(&self) -> Vec<String> {
        let path = self.path().to_str().unwrap();
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let process = entry.ok()?.path();
            let arguments = std::fs::read(process.join("cmdline")).ok()?;
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            let stands_there = std::fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(self.path()));
            (arguments.contains(path) || stands_there).then_some(arguments)
        });
        entries.collect()
    }

    /// Fails when a file or a process is still there after 20 seconds.
    #[track_caller]
    pub fn must_become_empty(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !(self.files().is_empty() && self.processes().is_empty()) {
            assert!(Instant::now() < deadline, "left: {:?} {:?}", self.files(), self.processes());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The directory of the templates of empty servers, in each shadow directory.
fn templates() -> String {
    format!("safe-migrate-templates-{}", rustix::process::geteuid().as_raw())
}

/// Copies the templates that other tests made, which spares an `initdb`.
fn with_known_templates(shadow: &Path) {
    let known = std::env::temp_dir().join(templates());
    let entries = std::fs::read_dir(&known).into_iter().flatten().map(|entry| entry.unwrap().path());
    let complete =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("template-"));
    for entry in entries.filter(complete) {
        let copy = shadow.join(templates());
        std::fs::create_dir_all(&copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o700)).unwrap();
        // One that is being removed meanwhile is copied in part, and not used.
        let _ = Command::new("cp").arg("-Rp").arg(entry).arg(copy).stderr(Stdio::null()).status();
    }
}
