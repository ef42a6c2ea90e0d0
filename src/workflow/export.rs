//! A snapshot as an archive of PostgreSQL's own: restored into a shadow, proven there, and dumped.

use std::path::{Path, PathBuf};

use crate::postgres::{ArchiveFormat, WorkDirectory, archive};
use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::proof::Proof;
use super::shadow::{self, Shadow};
use super::{Error, Gate, Interrupt, Operator, Project};

/// How the directory of an export begins that is not finished.
const UNFINISHED: &str = ".safe-migrate-export-";

/// What an export wrote.
#[derive(Clone, Debug)]
pub struct ExportReport {
    /// Where it is: a file, or a directory in [`ArchiveFormat::Directory`].
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What was compared with the manifest before it was dumped.
    pub proof: Proof,
    /// What a shadow never receives, and the export therefore lacks: entries as `pg_restore --list` names them.
    pub left_out: Vec<String>,
}

/// Exports a snapshot to `path`, which must not exist. Never connects to production; on failure nothing is left.
pub async fn export(
    project: &Project,
    store: &Store,
    id: &SnapshotId,
    (format, path): (ArchiveFormat, &Path),
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<ExportReport, Error> {
    refuse_existing(path)?;
    // Beside the place itself, so that it can be renamed into it; after a kill the next export removes it.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    WorkDirectory::sweep(parent, UNFINISHED);
    let unfinished = WorkDirectory::named(parent, UNFINISHED)
        .map_err(|source| Error::File { what: format!("cannot make a directory in {}", parent.display()), source })?;
    let reader = SnapshotReader::open(store, id).await?;
    let programs = project.programs(reader.manifest().server.version_num / 10_000)?;
    operator.step(&format!("restoring snapshot {id} into a shadow"));
    // What is written out names the database as it is called in production, which only a private server can do.
    let project = &Project { shadow_server: None, ..project.clone() };
    let (shadow, proof) = Shadow::restore(project, &programs, &reader, None, operator, interrupt).await?;
    let dumped = unfinished.path().join("export");
    let dumping = async {
        if !proof.differences.is_empty() {
            return Err(Gate::ProofFailed(proof.differences.clone()).into());
        }
        let left_out = left_out(&programs, &shadow, &reader).await?;
        // The archive carries the settings of the database, and the mark is one.
        shadow.release_mark().await?;
        operator.step(&format!("writing {}", path.display()));
        let encoding = &reader.manifest().database.encoding;
        archive::dump_whole(&programs, &shadow.spec(), encoding, (format, &dumped), project.jobs).await?;
        Ok(left_out)
    };
    let result = interrupt.or(dumping).await;
    shadow.stop().await?;
    let left_out = result?;
    let what = || format!("cannot write {}", path.display());
    let bytes = size(&dumped).map_err(|source| Error::File { what: what(), source })?;
    refuse_existing(path)?;
    std::fs::rename(&dumped, path).map_err(|source| Error::File { what: what(), source })?;
    Ok(ExportReport { path: path.to_owned(), bytes, proof, left_out })
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::OutputExists(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::File { what: format!("cannot look at {}", path.display()), source }),
    }
}

async fn left_out(
    programs: &crate::postgres::Programs,
    shadow: &Shadow,
    reader: &SnapshotReader,
) -> Result<Vec<String>, Error> {
    let archive_file = shadow.write_file("contents.dump", &reader.get_blob(&reader.manifest().schema).await?)?;
    Ok(shadow::outside_links(&archive::list(programs, &archive_file).await?))
}

/// Of a file, or of all files of a directory.
fn size(path: &Path) -> std::io::Result<u64> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_overwritten_not_even_a_dangling_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "mine").unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for path in [&file, &link] {
            assert!(matches!(refuse_existing(path), Err(Error::OutputExists(named)) if named == *path));
        }
        refuse_existing(&directory.path().join("free")).unwrap();
    }

    #[test]
    fn the_size_of_a_directory_is_that_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("one"), "123").unwrap();
        std::fs::create_dir(directory.path().join("below")).unwrap();
        std::fs::write(directory.path().join("below/two"), "45").unwrap();
        assert_eq!(size(directory.path()).unwrap(), 5);
    }
}
