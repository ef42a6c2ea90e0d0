//! What the database was between the steps: tables and schema, and short records of the rows that a step wrote.

use std::collections::BTreeMap;

use crate::postgres::contents::{self, Table, Tables, TablesQuery};
use crate::postgres::row_record::{self, RowRecord};
use crate::postgres::schema_record::{RecordQuery, SchemaRecord};
use crate::postgres::{ConnectionSpec, Session, prepare_copy_session};

use super::super::Error;

/// The state between two steps.
#[derive(Debug)]
pub struct Moment {
    /// The tables.
    pub tables: Tables,
    /// The schema.
    pub schema: SchemaRecord,
}

/// The rows of a table after the step that wrote them.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The table's name.
    pub name: String,
    /// The record of all its columns.
    pub record: RowRecord,
}

/// Records by OID of the table.
pub type Records = BTreeMap<u32, Recorded>;

/// Observes the shadow through sessions of its own.
#[derive(Debug)]
pub struct Watch {
    /// Session on the copy made before the plan.
    pub template: Session,
    /// Session on the shadow, as superuser.
    pub shadow: Session,
    /// The states: before the plan, and after each step.
    pub moments: Vec<Moment>,
    /// What each step wrote.
    pub records: Vec<Records>,
    counted: bool,
    queries: (TablesQuery, RecordQuery),
}

impl Watch {
    /// Begins before the first step. `counted` is false when the plan may switch the server's counters off.
    pub async fn start(
        template: &ConnectionSpec,
        shadow: &ConnectionSpec,
        session: &Session,
        counted: bool,
    ) -> Result<Self, Error> {
        let shadow = shadow.connect("safe-migrate rehearsal after").await?;
        let template = template.connect("safe-migrate rehearsal before").await?;
        // A setting of the database, which its copy does not have; the text of money depends on it.
        let row = shadow.query_one("SELECT pg_catalog.current_setting('lc_monetary')", &[]).await;
        let money: String = row.map_err(crate::postgres::DatabaseError::from)?.get(0);
        for side in [&shadow, &template] {
            prepare_copy_session(side, Some(&money)).await?;
        }
        let queries = (contents::prepare(&shadow).await?, SchemaRecord::prepare(&shadow).await?);
        let mut watch = Self { template, shadow, moments: Vec::new(), records: Vec::new(), counted, queries };
        let start = watch.moment(session).await?;
        watch.moments.push(start);
        Ok(watch)
    }

    /// The state now. `session` is the one that migrates: what it wrote is counted there first.
    pub async fn moment(&self, session: &Session) -> Result<Moment, Error> {
        let counted = contents::flush_counters(session).await? && self.counted;
        let (tables, schema) = &self.queries;
        let tables = contents::read(&self.shadow, tables, counted).await?;
        Ok(Moment { tables, schema: SchemaRecord::read(&self.shadow, schema).await? })
    }

    /// Notes the state after a step, and the rows that it wrote. After the last step a table that only lost a column
    /// is of no interest: nothing later is compared with it.
    pub async fn step_done(&mut self, session: &Session, last: bool) -> Result<(), Error> {
        let now = self.moment(session).await?;
        let before = self.moments.last().map(|moment| &moment.tables);
        let records = self.records_of(before.unwrap_or(&Tables::new()), &now.tables, last).await?;
        self.moments.push(now);
        self.records.push(records);
        Ok(())
    }

    /// Records of the tables that were written (unless `written_only`, also of those that show their rows otherwise).
    pub async fn records_of(&self, before: &Tables, after: &Tables, written_only: bool) -> Result<Records, Error> {
        let mut records = Records::new();
        for (oid, table) in after.iter().filter(|(_, table)| !table.partitioned) {
            let changed =
                before.get(oid).is_none_or(|old| old.was_written(table) || (!written_only && old.was_touched(table)));
            if changed {
                records.insert(*oid, self.recorded(table).await?);
            }
        }
        Ok(records)
    }

    async fn recorded(&self, table: &Table) -> Result<Recorded, Error> {
        Ok(Recorded { name: table.display(), record: row_record::read_all(&self.shadow, table).await? })
    }
}
