//! The pre-flight: what would make a snapshot incomplete, and what the operator should know, before anything is copied.

use crate::postgres::catalog::{Peculiarities, Table};
use crate::postgres::database::DatabaseProperties;
use crate::postgres::not_carried::NotCarried;
use crate::postgres::unreadable_names::unreadable_names;
use crate::postgres::{Session, catalog, prepare_copy_session};
use crate::report::{first_five, format_bytes, format_list};

use super::super::{Confirmation, Error, Gate, Operator, Project};
use super::rows::unprintable;

/// What the pre-flight found.
pub(super) struct Preflight {
    /// The session that looked, for what is asked beside the snapshot.
    pub(super) session: Session,
    pub(super) properties: DatabaseProperties,
    pub(super) peculiarities: Peculiarities,
    pub(super) invalid_indexes: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Looks at everything that would make the snapshot incomplete, before anything is copied.
pub(super) async fn preflight(project: &Project, operator: &dyn Operator) -> Result<Preflight, Error> {
    let session = project.target.connect("safe-migrate snapshot watch").await?;
    prepare_copy_session(&session, None).await?;
    refuse_unreadable_names(&session).await?;
    let properties = DatabaseProperties::read(&session).await?;
    let tables = catalog::tables(&session).await?;
    let peculiarities = catalog::peculiarities(&session, &tables).await?;
    if !peculiarities.unreadable.is_empty() {
        let names = format_list(&peculiarities.unreadable);
        return Err(Error::SnapshotRefused(format!(
            "{} cannot read every row of {names} (no SELECT, or row-level security)",
            catalog::acting_role(&session).await?
        )));
    }
    ask_about_size(project, &tables, operator)?;
    // Only a table with that much beside its heap can have such a value, unless it is compressed.
    for table in tables.iter().filter(|table| table.total_bytes - table.heap_bytes > catalog::UNPRINTABLE) {
        let values = catalog::unprintable(&session, table).await?;
        if !values.is_empty() {
            return Err(unprintable(&values));
        }
    }
    let invalid_indexes = catalog::invalid_indexes(&session).await?;
    let mut warnings = warnings(&tables, &peculiarities, &invalid_indexes);
    warnings.extend(not_carried(&NotCarried::read(&session).await?));
    for warning in &warnings {
        operator.warn(warning);
    }
    Ok(Preflight { session, properties, peculiarities, invalid_indexes, warnings })
}

/// Refuses a database of SQL_ASCII with names that are no UTF-8, and says how they are renamed.
async fn refuse_unreadable_names(session: &Session) -> Result<(), Error> {
    let names = unreadable_names(session).await?;
    if names.is_empty() {
        return Ok(());
    }
    let objects: Vec<&str> = names.iter().map(|name| name.object.as_str()).collect();
    let renames: Vec<&str> = names.iter().map(|name| name.rename.as_str()).collect();
    Err(Error::SnapshotRefused(format!(
        "the database is SQL_ASCII, and the bytes of these names are no UTF-8: {}; rename them first:\n  {}",
        format_list(&objects),
        first_five(&renames).join("\n  ")
    )))
}

fn ask_about_size(project: &Project, tables: &[Table], operator: &dyn Operator) -> Result<(), Error> {
    let estimate: u64 = tables.iter().map(|table| u64::try_from(table.total_bytes).unwrap_or_default()).sum();
    let Some(limit) = project.ask_above else { return Ok(()) };
    if estimate <= limit {
        return Ok(());
    }
    let question = format!("the snapshot copies about {}. Go on?", format_bytes(estimate));
    match operator.confirm_typed(&question) {
        Confirmation::Yes => Ok(()),
        Confirmation::No => Err(Gate::NotConfirmed.into()),
        Confirmation::CannotAsk => Err(Gate::LargeSnapshot(format_bytes(estimate)).into()),
    }
}

fn warnings(tables: &[Table], peculiarities: &Peculiarities, invalid_indexes: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    let unlogged: Vec<String> =
        tables.iter().filter(|table| table.unlogged).map(|table| format!("{}.{}", table.schema, table.name)).collect();
    let mut say = |names: &[String], what: &str| {
        if !names.is_empty() {
            warnings.push(format!("{what}: {}", format_list(names)));
        }
    };
    say(&unlogged, "unlogged tables are copied, but a crash of the server empties them");
    say(invalid_indexes, "invalid indexes are recorded and will not come back");
    say(
        &peculiarities.subscriptions,
        "subscriptions hold a connection string, which is now in the snapshot; restored disabled",
    );
    say(&peculiarities.mapped_passwords, "user mappings hold a password, which is now in the snapshot in clear text");
    say(&peculiarities.prepared_transactions, "prepared transactions are not in the snapshot");
    warnings
}

/// What a server that has nothing of this one's would lack.
fn not_carried(found: &NotCarried) -> Vec<String> {
    let mut warnings = Vec::new();
    if !found.tablespaces.is_empty() {
        warnings.push(format!(
            "tablespaces are not in the snapshot; a server that lacks one keeps these in its default: {}",
            found.tablespaces.join("; ")
        ));
    }
    if let Some(tablespace) = &found.database_tablespace {
        warnings
            .push(format!("the database lies in tablespace {tablespace}; a restored one lies in the server's default"));
    }
    match found.logins {
        0 => {}
        1 => warnings.push("the password of 1 login that has something here is not in the snapshot".to_owned()),
        logins => {
            warnings.push(format!("the passwords of {logins} logins that have something here are not in the snapshot"));
        }
    }
    warnings
}
