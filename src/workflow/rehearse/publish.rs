//! Writes the report of a rehearsal to the store, without any value of a row.

use crate::report::html_page;
use crate::report::rehearsal::RehearsalReport;
use crate::store::{ObjectKey, Store};

use super::super::Error;

/// Writes the page for people first: where `report.json` is, all is.
pub async fn publish(store: &Store, report: &RehearsalReport) -> Result<(), Error> {
    let report = report.without_samples();
    let key = |name: &str| ObjectKey::new(format!("rehearsals/{}/{name}", report.id));
    let page = html_page(&report).map_err(|source| Error::Page { source: Box::new(source) })?;
    store.put(&key("report.html")?, page.into_bytes().into()).await?;
    let body = serde_json::to_vec_pretty(&report)
        .map_err(|source| Error::Json { what: "cannot write the rehearsal's report".to_owned(), source })?;
    Ok(store.put(&key("report.json")?, body.into()).await?)
}
