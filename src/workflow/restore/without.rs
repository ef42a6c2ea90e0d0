//! What the operator gives up by name: entries that the role may not create, or that the server has no files for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::postgres::foreign_code::{FoundCode, TrustedOwners};
use crate::postgres::{ArchiveEntry, Tablespaces, WorkDirectory, archive, archive_entries};
use crate::report::format_list;
use crate::snapshot::SnapshotReader;

use super::super::project::Server;
use super::super::{Error, Project, code_of_others, fill};

/// Entries of the archive that are left out.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    /// Their numbers in the archive, with the comments and privileges on them.
    pub ids: BTreeSet<u32>,
    /// What they are, as `--without` names them.
    pub names: Vec<String>,
    /// Tables whose rows are left out with them, by schema and name.
    pub tables: BTreeSet<(String, String)>,
    /// Sequences of such tables that are nothing without them.
    pub sequences: BTreeSet<(String, String)>,
}

/// Kinds that the values of the manifest belong to, and which are no table.
const HOLDS_DATA: &[&str] = &["SCHEMA", "SEQUENCE"];
/// The archive of the snapshot's schema, in a directory of its own.
pub(super) struct SchemaFile {
    files: WorkDirectory,
    path: PathBuf,
}

impl SchemaFile {
    /// Reads it from the store.
    pub(super) async fn read(project: &Project, reader: &SnapshotReader) -> Result<Self, Error> {
        let files = WorkDirectory::create(&project.shadow_dir)
            .map_err(|source| Error::File { what: "cannot make a temporary directory".to_owned(), source })?;
        let path = fill::write_file(files.path(), "schema.dump", &reader.get_blob(&reader.manifest().schema).await?)?;
        Ok(Self { files, path })
    }

    /// Its entries.
    pub(super) async fn entries(&self, server: &Server) -> Result<Vec<ArchiveEntry>, Error> {
        Ok(archive_entries::entries(&server.programs, &self.path, None, Tablespaces::Default).await?)
    }

    /// What loading the rest of it would run of others.
    pub(super) async fn foreign_code(
        &self,
        server: &Server,
        left_out: &LeftOut,
        trusted: &TrustedOwners,
    ) -> Result<FoundCode, Error> {
        let contents = archive::list(&server.programs, &self.path).await?;
        let contents = fill::without_entries(contents, &left_out.ids);
        let list = fill::write_list(self.files.path(), "schema.list", &contents)?;
        code_of_others::of_archive(&server.programs, &self.path, Some(&list), trusted).await
    }
}

/// Finds what is to be left out; nothing that still needs it may stay.
pub(super) fn find(entries: &[ArchiveEntry], asked: &[String]) -> Result<LeftOut, Error> {
    let mut ids = BTreeSet::new();
    let mut names = Vec::new();
    for wanted in asked {
        let entry = named(entries, wanted.trim())?;
        if HOLDS_DATA.contains(&entry.kind.as_str()) {
            return Err(Error::RestoreRefused(format!(
                "{} holds what the snapshot proves, and cannot be left out; a table can, with all that needs it",
                entry.label()
            )));
        }
        ids.insert(entry.id);
        names.push(entry.label());
        if entry.kind == "TABLE" {
            ids.extend(with_dependents(entries, BTreeSet::from([entry.id])));
        }
    }
    let needs_one = |entry: &&ArchiveEntry, ids: &BTreeSet<u32>| entry.needs.iter().any(|id| ids.contains(id));
    let along: Vec<u32> =
        (entries.iter()).filter(|entry| entry.goes_along() && needs_one(entry, &ids)).map(|entry| entry.id).collect();
    ids.extend(along);
    let stranded: Vec<String> = (entries.iter())
        .filter(|entry| needs_one(entry, &ids) && !ids.contains(&entry.id))
        .map(|entry| format!("--without '{}'", entry.label()))
        .collect();
    if stranded.is_empty() {
        let of_kind = |kind: &str| -> BTreeSet<(String, String)> {
            let chosen = entries.iter().filter(|entry| entry.kind == kind && ids.contains(&entry.id));
            chosen.map(|entry| (entry.schema.clone().unwrap_or_default(), entry.name.clone())).collect()
        };
        let (tables, sequences) = (of_kind("TABLE"), of_kind("SEQUENCE"));
        return Ok(LeftOut { ids, names, tables, sequences });
    }
    Err(Error::RestoreRefused(format!(
        "what is to be left out is needed by others, which must be named too:\n  {}",
        stranded.join("\n  ")
    )))
}

/// Entries of an archive with all that needs them, directly or not.
pub(super) fn with_dependents(entries: &[ArchiveEntry], mut ids: BTreeSet<u32>) -> BTreeSet<u32> {
    loop {
        let more: Vec<u32> = (entries.iter())
            .filter(|entry| !ids.contains(&entry.id) && entry.needs.iter().any(|id| ids.contains(id)))
            .map(|entry| entry.id)
            .collect();
        if more.is_empty() {
            return ids;
        }
        ids.extend(more);
    }
}

/// The entry of that name; without its schema where only one is called so.
fn named<'a>(entries: &'a [ArchiveEntry], wanted: &str) -> Result<&'a ArchiveEntry, Error> {
    if let Some(entry) = entries.iter().find(|entry| entry.label().eq_ignore_ascii_case(wanted)) {
        return Ok(entry);
    }
    let short = |entry: &&ArchiveEntry| format!("{} {}", entry.kind, entry.name).eq_ignore_ascii_case(wanted);
    match entries.iter().filter(short).collect::<Vec<_>>().as_slice() {
        [] => Err(unknown(entries, wanted)),
        [entry] => Ok(entry),
        several => {
            let names: Vec<String> = several.iter().map(|entry| format!("'{}'", entry.label())).collect();
            Err(Error::RestoreRefused(format!("several are called {wanted}: {}", format_list(&names))))
        }
    }
}

fn unknown(entries: &[ArchiveEntry], wanted: &str) -> Error {
    let wanted = wanted.trim();
    let kind_of = |entry: &&ArchiveEntry| {
        let kind = wanted.get(..entry.kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(&entry.kind));
        kind && wanted[entry.kind.len()..].starts_with(' ')
    };
    let same: Vec<String> = entries.iter().filter(kind_of).take(10).map(ArchiveEntry::label).collect();
    let hint = match same.is_empty() {
        true => "an entry is named by kind and name, such as EVENT TRIGGER watch or EXTENSION hstore".to_owned(),
        false => format!("it has {}", format_list(&same)),
    };
    Error::RestoreRefused(format!("the snapshot has no \"{wanted}\" to be left out; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32, kind: &str, schema: Option<&str>, name: &str, needs: &[u32]) -> ArchiveEntry {
        let schema = schema.map(str::to_owned);
        ArchiveEntry {
            id,
            kind: kind.to_owned(),
            schema,
            name: name.to_owned(),
            needs: needs.to_vec(),
            ..Default::default()
        }
    }

    fn sample() -> Vec<ArchiveEntry> {
        vec![
            entry(1, "EXTENSION", None, "hstore", &[]),
            entry(2, "TABLE", Some("public"), "t", &[]),
            entry(3, "FUNCTION", Some("public"), "watch()", &[]),
            entry(4, "EVENT TRIGGER", None, "watching", &[3]),
            entry(5, "COMMENT", None, "EVENT TRIGGER watching", &[4]),
            entry(6, "VIEW", Some("public"), "v", &[1]),
        ]
    }

    fn refusal(asked: &[&str]) -> String {
        let asked: Vec<String> = asked.iter().map(|one| (*one).to_owned()).collect();
        find(&sample(), &asked).unwrap_err().to_string()
    }

    #[test]
    fn comments_go_along_and_what_depends_must_be_named_too() {
        let left = find(&sample(), &["event trigger watching".to_owned()]).unwrap();
        assert_eq!((left.ids, left.names), (BTreeSet::from([4, 5]), vec!["EVENT TRIGGER watching".to_owned()]));
        assert!(refusal(&["FUNCTION public.watch()"]).ends_with("--without 'EVENT TRIGGER watching'"));
        assert!(refusal(&["EXTENSION hstore"]).ends_with("--without 'VIEW public.v'"));
        let left = find(&sample(), &["TABLE public.t".to_owned()]).unwrap();
        assert_eq!(left.tables, BTreeSet::from([("public".to_owned(), "t".to_owned())]));
        assert!(refusal(&["EVENT TRIGGER wathcing"]).ends_with("it has EVENT TRIGGER watching"));
        // Its schema may be left out where nothing else is called so.
        let left = find(&sample(), &["view V".to_owned()]).unwrap();
        assert_eq!(left.names, ["VIEW public.v"]);
        let mut two = sample();
        two.push(entry(7, "VIEW", Some("other"), "v", &[]));
        let why = find(&two, &["VIEW v".to_owned()]).unwrap_err().to_string();
        assert!(why.ends_with("several are called VIEW v: 'VIEW public.v', 'VIEW other.v'"), "{why}");
        assert!(refusal(&["everything"]).contains("by kind and name"));
        assert!(find(&sample(), &[]).unwrap().ids.is_empty());
    }
}
