//! Writes the report of a rehearsal and its receipt to the store, without any value of a row.

use crate::report::html_page;
use crate::report::rehearsal::RehearsalReport;
use crate::store::{ObjectKey, Store};

use super::super::Error;
use super::receipt::Receipt;
use super::stored_receipt::hash;

/// Writes the page for people first, then the receipt: where `report.json` is, all is.
///
/// `receipt` makes the receipt, from the SHA-256 of the stored report; none for a rehearsal that failed.
pub async fn publish(
    store: &Store,
    report: &RehearsalReport,
    receipt: impl FnOnce(String) -> Option<Receipt>,
) -> Result<Option<Receipt>, Error> {
    let report = report.without_samples();
    let key = |name: &str| ObjectKey::new(format!("rehearsals/{}/{name}", report.id));
    let page = html_page(&report).map_err(|source| Error::Page { source: Box::new(source) })?;
    let body = serde_json::to_vec_pretty(&report)
        .map_err(|source| Error::Json { what: "cannot write the rehearsal's report".to_owned(), source })?;
    let receipt = receipt(hash(&body));
    store.put(&key("report.html")?, page.into_bytes().into()).await?;
    if let Some(receipt) = &receipt {
        receipt.write(store).await?;
    }
    store.put(&key("report.json")?, body.into()).await?;
    Ok(receipt)
}
