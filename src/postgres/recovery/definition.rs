//! The definition of a table of the scratch database, by `pg_dump` of that table.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::archive::{ArchiveError, Section, Tablespaces, output};
use super::super::archive_entries::{self, ArchiveEntry};
use super::super::{ConnectionSpec, DatabaseError, Programs, Session, qualified, quote_identifier, quote_literal};
use super::entries::script;
use super::facts::Relation;

/// The SQL that makes a table: before its rows, and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableScripts {
    /// Table, partitions, sequences, defaults, comments, owner.
    pub before: String,
    /// Indexes, constraints but foreign keys, triggers, policies.
    pub after: String,
    /// The statement that makes it a partition of its parent again; none: it was none.
    pub attach: Option<String>,
}

/// Reads the definition of tables (a table and its partitions). Foreign keys are left out: each is made alone, after
/// its orphans are counted. With `quiet` also what acts on other tables or when somebody writes: triggers, rules and
/// publications.
pub async fn table_scripts(
    programs: &Programs,
    (scratch, session): (&ConnectionSpec, &Session),
    tables: &[(String, String)],
    quiet: bool,
    files: &Path,
) -> Result<TableScripts, DefinitionError> {
    let path = files.join("part.dump");
    let mut command = programs.command("pg_dump");
    scratch.for_program(&mut command).await.map_err(ArchiveError::from)?;
    command.args(["--format=custom", "--compress=0", "--schema-only", "--no-password", "--quote-all-identifiers"]);
    command.arg("--no-publications").arg("--file").arg(&path);
    for (schema, name) in tables {
        command.arg(format!("--table={}", qualified(schema, name)));
    }
    output(command, "pg_dump of the table").await?;
    let all = archive_entries::entries(programs, &path, None, Tablespaces::AsRecorded).await?;
    let root = tables.first().map(|(_, name)| name.as_str()).unwrap_or_default();
    let index = |id: &u32| all.iter().any(|one| one.id == *id && ["INDEX", "CONSTRAINT"].contains(&one.kind.as_str()));
    let is_root = |entry: &&ArchiveEntry| entry.kind == "TABLE ATTACH" && entry.name == root;
    let left_out: BTreeSet<u32> = all
        .iter()
        .filter(|entry| match entry.kind.as_str() {
            "FK CONSTRAINT" => true,
            "TABLE ATTACH" => entry.name == root,
            // To an index of the parent, which is not made here; attaching the table attaches what is equal.
            "INDEX ATTACH" => entry.needs.iter().filter(|id| index(id)).count() < 2,
            "TRIGGER" | "RULE" => quiet,
            _ => false,
        })
        .map(|entry| entry.id)
        .collect();
    let wanted: BTreeSet<u32> = all
        .iter()
        .filter(|entry| !left_out.contains(&entry.id))
        // The comment of a foreign key or a trigger that is left out.
        .filter(|entry| entry.kind != "COMMENT" || !entry.needs.iter().any(|need| left_out.contains(need)))
        .map(|entry| entry.id)
        .collect();
    Ok(TableScripts {
        before: script(programs, &path, &wanted, Some(Section::PreData)).await?,
        after: script(programs, &path, &wanted, Some(Section::PostData)).await? + &statistics(session, tables).await?,
        attach: all.iter().find(is_root).map(|entry| entry.sql.clone()).filter(|sql| !quiet && !sql.is_empty()),
    })
}

/// Why a definition could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A program failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The server refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

/// The extended statistics of tables. `pg_dump --table` leaves them out (15 and 18); this is the text that it takes
/// for a whole database.
async fn statistics(session: &Session, tables: &[(String, String)]) -> Result<String, DatabaseError> {
    let mut sql = String::new();
    for (schema, name) in tables {
        let rows = session
            .query(
                "SELECT pg_catalog.pg_get_statisticsobjdef(s.oid), pg_catalog.format('%I.%I', n.nspname, s.stxname),
                        pg_catalog.pg_get_userbyid(s.stxowner)::text, coalesce(s.stxstattarget, -1)::int,
                        pg_catalog.obj_description(s.oid, 'pg_statistic_ext')
                   FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
                  WHERE s.stxrelid = $1::text::pg_catalog.regclass ORDER BY 2",
                &[&qualified(schema, name)],
            )
            .await?;
        for row in rows {
            let (definition, object, owner): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            sql.push_str(&format!("{definition};\nALTER STATISTICS {object} OWNER TO {};\n", quote_identifier(&owner)));
            if let target @ 0.. = row.get::<_, i32>(3) {
                sql.push_str(&format!("ALTER STATISTICS {object} SET STATISTICS {target};\n"));
            }
            if let Some(comment) = row.get::<_, Option<String>>(4) {
                sql.push_str(&format!("COMMENT ON STATISTICS {object} IS {};\n", quote_literal(&comment)));
            }
        }
    }
    Ok(sql)
}

/// Makes a view of the rows that a condition chooses, in the scratch database, and returns its name.
///
/// The condition is the operator's own SQL: it is parsed as an expression of this one statement, with `public` in the
/// search path, so that operators of extensions are found.
pub async fn condition_view(scratch: &Session, table: &Relation, condition: &str) -> Result<String, DatabaseError> {
    scratch.batch_execute("CREATE SCHEMA safe_migrate_part; SET search_path = pg_catalog, public").await?;
    let sql = format!("CREATE VIEW safe_migrate_part.wanted AS SELECT * FROM {} WHERE (\n{condition}\n)", table.rows());
    let made = scratch.execute(&sql, &[]).await;
    scratch.batch_execute("SET search_path = ''").await?;
    made?;
    Ok("safe_migrate_part.wanted".to_owned())
}

/// Attaches a partition within a transaction that goes on when the parent does not take it; then the answer is why.
pub async fn attach(live: &Session, statement: &str) -> Result<Result<(), DatabaseError>, DatabaseError> {
    live.batch_execute("SAVEPOINT attach").await?;
    match live.batch_execute(statement).await {
        Ok(()) => Ok(Ok(live.batch_execute("RELEASE attach").await?)),
        Err(error) if live.is_closed() => Err(error.into()),
        Err(error) => {
            live.batch_execute("ROLLBACK TO attach; RELEASE attach").await?;
            Ok(Err(error.into()))
        }
    }
}

/// Runs a script that makes objects.
pub async fn define(live: &Session, script: &str) -> Result<(), DatabaseError> {
    Ok(live.batch_execute(script).await?)
}
