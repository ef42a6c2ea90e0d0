//! One entry of a dump.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One entry of a dump: an object, or one property that pg_dump writes apart, such as its privileges or its comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaEntry {
    /// `TABLE`, `INDEX`, `FK CONSTRAINT`, `ACL`, …: the archive's own words.
    pub kind: String,
    /// The schema it is in; empty for what is in none.
    pub schema: String,
    /// The archive's name for it, such as `orders_order`, `orders_order orders_order_pkey` or `TABLE orders_order`;
    /// pg_dump writes a line end in a name as a space.
    pub name: String,
    /// Its SQL, the owner's `ALTER … OWNER TO` included.
    pub text: String,
}

/// What an entry is called. Not unique: overloaded operators share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryKey {
    /// As in [`SchemaEntry::kind`].
    pub kind: String,
    /// As in [`SchemaEntry::schema`].
    pub schema: String,
    /// As in [`SchemaEntry::name`].
    pub name: String,
}

impl SchemaEntry {
    /// What it is called.
    pub fn key(&self) -> EntryKey {
        EntryKey { kind: self.kind.clone(), schema: self.schema.clone(), name: self.name.clone() }
    }

    /// Whether it is the schema `name`, a property of it, or in it.
    pub(super) fn belongs_to_schema(&self, name: &str) -> bool {
        if self.schema == name {
            return true;
        }
        let own = self.kind == "SCHEMA" && self.name == name;
        let property = self.is_property() && self.name.strip_prefix("SCHEMA ") == Some(name);
        self.schema.is_empty() && (own || property)
    }

    /// Whether its name begins with the kind of the object that it is a property of.
    pub(super) fn is_property(&self) -> bool {
        matches!(self.kind.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL")
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}.{}", self.kind, self.schema, self.name)
        }
    }
}
