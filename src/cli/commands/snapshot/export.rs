//! `snapshot export`: a snapshot for those who have only PostgreSQL's programs.

use std::path::PathBuf;

use serde_json::json;

use super::named;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::postgres::ArchiveFormat;
use crate::report::format_bytes;
use crate::workflow::{Operator, export};

/// Write a snapshot as an archive for `pg_restore`, or as SQL for `psql`
///
/// The snapshot is restored into a private server, compared with its manifest and
/// dumped there; production is not asked. Roles are not part of it, as with any
/// pg_dump. Subscriptions and user mappings are left out, and named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot export latest --output shop.dump
  safe-migrate snapshot export latest --format plain --output shop.sql")]
pub(crate) struct Args {
    /// The snapshot: an ID, or `latest` of this source
    #[arg(value_name = "ID|latest")]
    pub(crate) snapshot: String,
    /// What to write
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// The file to write, or the directory; it must not exist
    #[arg(long, value_name = "PATH")]
    pub(crate) output: PathBuf,
}

/// The formats of pg_dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One file for pg_restore
    #[default]
    Custom,
    /// A directory for pg_restore, which reads it with several jobs
    Directory,
    /// SQL for psql
    Plain,
}

impl From<Format> for ArchiveFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Custom => Self::Custom,
            Format::Directory => Self::Directory,
            Format::Plain => Self::Plain,
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let (store, id) = context.unless_interrupted(named(context, &project, &args.snapshot)).await?;
    let format = ArchiveFormat::from(args.format);
    let path = context.directory.join(&args.output);
    let (operator, interrupt) = (&context.operator, context.interrupt.wish());
    let report = export(&project, &store, &id, (format, &path), operator, interrupt).await?;
    if !report.left_out.is_empty() {
        operator.warn(&format!("left out, as they reach into other servers: {}", report.left_out.join(", ")));
    }
    let shown = args.output.display();
    let how = match format {
        ArchiveFormat::Custom | ArchiveFormat::Directory => format!("pg_restore --exit-on-error -d DATABASE {shown}"),
        ArchiveFormat::Plain => format!("psql -X -v ON_ERROR_STOP=1 -d DATABASE -f {shown}"),
    };
    let text = format!(
        "{shown}: snapshot {id}, {}\ninto an empty database, where its roles exist: {how}\n",
        format_bytes(report.bytes)
    );
    let value = json!({
        "snapshot": id, "output": report.path, "format": format.name(), "bytes": report.bytes,
        "proof": report.proof, "left_out": report.left_out,
    });
    Ok(Outcome::new(text, value))
}
