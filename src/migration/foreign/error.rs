//! Why another tool's directory cannot be read.

use std::path::PathBuf;

/// Why a directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is not there, or cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is no migration in it.
    #[error("{} holds no migration as {tool} names them: {layout}", dir.display())]
    Empty {
        /// The directory.
        dir: PathBuf,
        /// The tool.
        tool: &'static str,
        /// What is looked for.
        layout: &'static str,
    },
    /// A file whose name says nothing.
    #[error("{}: no name of a {tool} migration: {layout}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The tool.
        tool: &'static str,
        /// What is looked for.
        layout: &'static str,
    },
    /// Two files of one version.
    #[error("{} and {}: the same version", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// A way back of something that is not there.
    #[error("{}: a way back, and there is no file that it undoes", .0.display())]
    OnlyDown(PathBuf),
    /// Something that has no meaning here.
    #[error("{}: {what}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// A line that the tool would not take.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: u32,
        /// What is wrong with it.
        what: String,
    },
    /// What is no SQL before another program has filled it in.
    #[error("{}: templates, which another program fills in: {what}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// Lines and templates.
        what: String,
    },
}
