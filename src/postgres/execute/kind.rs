//! What a statement outside a transaction is about, as far as finding out what became of it needs it.

use crate::migration::Statement;

/// A statement that PostgreSQL runs in steps of its own, or that can simply run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// `CREATE INDEX CONCURRENTLY`; names as they are written.
    CreateIndex {
        /// None when PostgreSQL is to choose it.
        name: Option<String>,
        /// The table.
        table: String,
        /// `IF NOT EXISTS`.
        unless_there: bool,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex {
        /// The index.
        name: String,
    },
    /// `REINDEX … CONCURRENTLY`.
    Reindex {
        /// `INDEX`, `TABLE`, `SCHEMA`, `DATABASE` or `SYSTEM`.
        what: String,
        /// Its name.
        name: String,
    },
    /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY`.
    Detach {
        /// The partitioned table.
        parent: String,
        /// The partition.
        child: String,
    },
    /// Does the same again, however often: `VACUUM`, `ANALYZE`, `CLUSTER`, `REINDEX`.
    Repeatable,
    /// Anything else.
    Other,
}

impl Kind {
    /// Reads the first tokens of a statement.
    pub(in super::super) fn of(statement: &Statement) -> Kind {
        let tokens = statement.tokens();
        let mut words = Words { tokens: &tokens, at: 0 };
        let kind = match words.word().as_str() {
            "CREATE" => words.create_index(),
            "DROP" => words.drop_index(),
            "REINDEX" => words.reindex(),
            "ALTER" => words.detach(),
            "VACUUM" | "ANALYZE" | "ANALYSE" | "CLUSTER" => Some(Kind::Repeatable),
            _ => None,
        };
        kind.unwrap_or(Kind::Other)
    }

    /// Whether the server refuses it in a transaction for certain, so that trying there would only fill the server's log.
    pub(super) fn is_bare(&self, statement: &Statement) -> bool {
        match self {
            Self::CreateIndex { .. } | Self::DropIndex { .. } | Self::Reindex { .. } | Self::Detach { .. } => true,
            Self::Repeatable => statement.tokens().first().is_some_and(|word| word.eq_ignore_ascii_case("VACUUM")),
            Self::Other => false,
        }
    }
}

struct Words<'a> {
    tokens: &'a [&'a str],
    at: usize,
}

impl Words<'_> {
    fn word(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).map_or_else(String::new, |token| token.to_ascii_uppercase())
    }

    /// Steps over this word, if it is the next one.
    fn over(&mut self, word: &str) -> bool {
        let there = self.tokens.get(self.at).is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.at += usize::from(there);
        there
    }

    /// A name with its dots, as it is written.
    fn name(&mut self) -> Option<String> {
        let mut name = (*self.tokens.get(self.at)?).to_owned();
        self.at += 1;
        while self.over(".") {
            name.push('.');
            name.push_str(self.tokens.get(self.at)?);
            self.at += 1;
        }
        Some(name)
    }

    fn create_index(&mut self) -> Option<Kind> {
        self.over("UNIQUE");
        if !(self.over("INDEX") && self.over("CONCURRENTLY")) {
            return None;
        }
        let unless_there = self.over("IF") && self.over("NOT") && self.over("EXISTS");
        let name = if self.over("ON") { None } else { Some(self.name()?).filter(|_| self.over("ON")) };
        self.over("ONLY");
        Some(Kind::CreateIndex { name, table: self.name()?, unless_there })
    }

    fn drop_index(&mut self) -> Option<Kind> {
        if !(self.over("INDEX") && self.over("CONCURRENTLY")) {
            return None;
        }
        let _ = self.over("IF") && self.over("EXISTS");
        Some(Kind::DropIndex { name: self.name()? })
    }

    fn reindex(&mut self) -> Option<Kind> {
        let mut concurrently = false;
        if self.over("(") {
            while self.at < self.tokens.len() && !self.over(")") {
                concurrently |= self.word() == "CONCURRENTLY" && !self.over("FALSE") && !self.over("OFF");
            }
        }
        let what = self.word();
        concurrently |= self.over("CONCURRENTLY");
        if !concurrently {
            return Some(Kind::Repeatable);
        }
        Some(Kind::Reindex { what, name: self.name().unwrap_or_default() })
    }

    fn detach(&mut self) -> Option<Kind> {
        if !self.over("TABLE") {
            return None;
        }
        let _ = self.over("IF") && self.over("EXISTS");
        self.over("ONLY");
        let parent = self.name()?;
        if !(self.over("DETACH") && self.over("PARTITION")) {
            return None;
        }
        let child = self.name()?;
        self.over("CONCURRENTLY").then_some(Kind::Detach { parent, child })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Kind::of(&Statement { text: text.to_owned(), line: 1 })
    }

    #[test]
    fn kinds_are_recognised() {
        let create = |name: Option<&str>, table: &str, unless_there| Kind::CreateIndex {
            name: name.map(str::to_owned),
            table: table.to_owned(),
            unless_there,
        };
        let reindex = |what: &str, name: &str| Kind::Reindex { what: what.to_owned(), name: name.to_owned() };
        for (text, expected) in [
            ("CREATE INDEX CONCURRENTLY a_idx ON a (b)", create(Some("a_idx"), "a", false)),
            (
                "create unique /* x */ index concurrently if not exists a_idx on only x.a(b)",
                create(Some("a_idx"), "x.a", true),
            ),
            ("CREATE INDEX CONCURRENTLY ON a (b)", create(None, "a", false)),
            (
                "CREATE INDEX CONCURRENTLY \"of a dish\" ON \"my dish\"(b)",
                create(Some("\"of a dish\""), "\"my dish\"", false),
            ),
            ("DROP INDEX CONCURRENTLY IF EXISTS x.a_idx", Kind::DropIndex { name: "x.a_idx".to_owned() }),
            ("REINDEX TABLE CONCURRENTLY s.t", reindex("TABLE", "s.t")),
            ("REINDEX (VERBOSE, CONCURRENTLY) INDEX i", reindex("INDEX", "i")),
            ("REINDEX (CONCURRENTLY false) INDEX i", Kind::Repeatable),
            (
                "ALTER TABLE IF EXISTS p DETACH PARTITION s.p1 CONCURRENTLY",
                Kind::Detach { parent: "p".to_owned(), child: "s.p1".to_owned() },
            ),
            ("ALTER TABLE p DETACH PARTITION p1", Kind::Other),
            ("CREATE INDEX a_idx ON a (b)", Kind::Other),
            ("VACUUM a", Kind::Repeatable),
            ("CALL p()", Kind::Other),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
