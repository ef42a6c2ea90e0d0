//! The old databases that swaps keep: which run put each aside, and whose name it had.
//!
//! The evidence stands in the shared catalog, in the place of the mark, and is written in the transaction that renames. It names the database's OID, so that it means nothing when
//! it turns up elsewhere, and the OID of the database that took the name.

use super::note::{Note, Place};
use super::{DatabaseError, Session, mark};

/// An old database that a swap put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptDatabase {
    /// The name it has now.
    pub name: String,
    /// Its OID.
    pub oid: u32,
    /// The run that put it aside.
    pub run: String,
    /// The name it had.
    pub live: String,
    /// OID of the database that took this name.
    pub successor: u32,
}

impl KeptDatabase {
    /// Every old database of the server.
    pub async fn all(session: &Session) -> Result<Vec<Self>, DatabaseError> {
        let marked = mark::texts(session).await?;
        Ok(marked.into_iter().filter_map(|(name, oid, text)| Self::parse(name, oid, &text)).collect())
    }

    /// The one that this run put aside.
    pub async fn of_run(session: &Session, run: &str) -> Result<Option<Self>, DatabaseError> {
        Ok(Self::all(session).await?.into_iter().find(|kept| kept.run == run))
    }

    /// Whether it still is what it was when it was found: same name, same OID, same run.
    pub async fn is_unchanged(&self, session: &Session) -> Result<bool, DatabaseError> {
        Ok(Self::all(session).await?.contains(self))
    }

    /// The statement that writes the evidence, for the transaction that renames. The database has its new name there.
    pub(super) fn set_sql(&self, place: Place) -> String {
        // In hexadecimal: each database writes its settings in its own encoding.
        let text = format!("kept:{}:{}:{}:{}", self.run, self.oid, self.successor, hex::encode(&self.live));
        Note::Mark.set_sql(place, &self.name, &text)
    }

    fn parse(name: String, oid: u32, text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        if parts.next()? != "kept" {
            return None;
        }
        let (run, marked, successor) = (parts.next()?, parts.next()?, parts.next()?);
        let live = String::from_utf8(hex::decode(parts.next()?).ok()?).ok()?;
        let is_whole = parts.next().is_none() && marked.parse::<u32>() == Ok(oid);
        is_whole.then_some(Self { name, oid, run: run.to_owned(), live, successor: successor.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evidence_holds_for_its_own_database_only() {
        let kept = KeptDatabase {
            name: "shop_before_1".to_owned(),
            oid: 16_400,
            run: "20261122T135823Z-7f3a9c".to_owned(),
            live: "le: café".to_owned(),
            successor: 16_500,
        };
        let sql = kept.set_sql(Place::Setting);
        let text = sql.split('\'').nth(1).expect("a literal");
        assert_eq!(KeptDatabase::parse(kept.name.clone(), kept.oid, text), Some(kept.clone()));
        assert_eq!(KeptDatabase::parse(kept.name.clone(), 1, text), None, "copied to another database");
        let more = format!("{text}:1");
        for text in ["kept", "kept:r:16400:1:zz", "shadow:r:16400", more.as_str()] {
            assert_eq!(KeptDatabase::parse(kept.name.clone(), kept.oid, text), None, "{text}");
        }
    }
}
