//! What a statement is about, as far as its tokens say.

use squawk_lexer::TokenKind;

use super::super::lexer::{Lexeme, lexemes};

/// What a statement is about, as far as its first words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Create {
        kind: &'static str,
        name: String,
    },
    Drop {
        kind: &'static str,
        name: String,
    },
    AddColumn {
        table: String,
        column: String,
        definition: String,
    },
    DropColumn {
        table: String,
        column: String,
    },
    AddConstraint {
        table: String,
        name: String,
        not_valid: bool,
    },
    DropConstraint {
        table: String,
        name: String,
    },
    Validate {
        table: String,
        name: String,
    },
    /// `ALTER TYPE … ADD VALUE`, and the value that it comes after; none: at the end.
    AddValue {
        name: String,
        value: String,
        after: Option<String>,
    },
    /// `ALTER`, `COMMENT ON`, `GRANT … ON`, `CREATE INDEX … ON`, `INSERT INTO`, `UPDATE`: of this object.
    Of {
        name: String,
        writes: bool,
    },
    Other,
}

const KINDS: [&str; 9] = ["table", "index", "view", "type", "sequence", "function", "trigger", "domain", "schema"];

/// The tokens of a statement that mean something.
pub(super) struct Words<'a> {
    pub(super) lexemes: Vec<Lexeme<'a>>,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { lexemes: lexemes(text, 1).filter(|lexeme| !lexeme.is_trivia()).collect() }
    }

    /// The word at a place, folded as PostgreSQL folds it.
    pub(super) fn at(&self, place: usize) -> String {
        self.lexemes.get(place).map(folded).unwrap_or_default()
    }

    pub(super) fn starts(&self, place: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(at, word)| self.at(place + at) == *word)
    }

    /// A name, perhaps with its schema, and the place behind it.
    pub(super) fn name(&self, place: usize) -> Option<(String, usize)> {
        let is_name = |place: usize| {
            self.lexemes
                .get(place)
                .is_some_and(|one| matches!(one.kind, TokenKind::Ident | TokenKind::QuotedIdent { .. }))
        };
        if !is_name(place) {
            return None;
        }
        match self.lexemes.get(place + 1).map(|one| one.kind) {
            Some(TokenKind::Dot) if is_name(place + 2) => {
                Some((format!("{}.{}", self.at(place), self.at(place + 2)), place + 3))
            }
            _ => Some((self.at(place), place + 1)),
        }
    }

    pub(super) fn skip(&self, place: usize, words: &[&str]) -> usize {
        if self.starts(place, words) { place + words.len() } else { place }
    }

    /// Whether a comma stands outside parentheses behind this place.
    fn has_comma_behind(&self, place: usize) -> bool {
        let mut depth = 0_i32;
        self.lexemes.iter().skip(place).any(|one| {
            match one.kind {
                TokenKind::OpenParen => depth += 1,
                TokenKind::CloseParen => depth -= 1,
                _ => {}
            }
            depth == 0 && one.kind == TokenKind::Comma
        })
    }
}

fn folded(lexeme: &Lexeme<'_>) -> String {
    match lexeme.kind {
        TokenKind::QuotedIdent { .. } => lexeme.text.trim_matches('"').replace("\"\"", "\""),
        _ => lexeme.text.to_lowercase(),
    }
}

pub(super) fn shape(text: &str) -> Shape {
    let words = Words::of(text);
    let shape = match words.at(0).as_str() {
        "create" => created(&words),
        "drop" => dropped(&words),
        "alter" => altered(&words, text),
        "comment" => (words.at(1) == "on").then(|| named_after(&words, 3)).flatten(),
        "insert" => words.name(2).map(|(name, _)| Shape::Of { name, writes: true }),
        "update" => words.name(words.skip(1, &["only"])).map(|(name, _)| Shape::Of { name, writes: true }),
        "delete" => words.name(words.skip(2, &["only"])).map(|(name, _)| Shape::Of { name, writes: true }),
        _ => None,
    };
    shape.unwrap_or(Shape::Other)
}

fn named_after(words: &Words<'_>, place: usize) -> Option<Shape> {
    // `COMMENT ON COLUMN a.b` is of the table a.
    let (name, _) = words.name(place)?;
    let name = if words.at(2) == "column" { name.split('.').next().unwrap_or_default().to_owned() } else { name };
    Some(Shape::Of { name, writes: false })
}

fn created(words: &Words<'_>) -> Option<Shape> {
    let mut place = 1;
    for word in ["or", "replace", "unique", "materialized"] {
        place = words.skip(place, &[word]);
    }
    let kind = KINDS.into_iter().find(|kind| *kind == words.at(place))?;
    place = words.skip(words.skip(place + 1, &["concurrently"]), &["if", "not", "exists"]);
    let (name, behind) = words.name(place)?;
    // An index without a name: `CREATE INDEX ON t`.
    if kind == "index" && words.at(place) == "on" {
        let (table, _) = words.name(words.skip(place + 1, &["only"]))?;
        return Some(Shape::Of { name: table, writes: false });
    }
    let _ = behind;
    Some(Shape::Create { kind, name })
}

fn dropped(words: &Words<'_>) -> Option<Shape> {
    let place = words.skip(1, &["materialized"]);
    let kind = KINDS.into_iter().find(|kind| *kind == words.at(place))?;
    let place = words.skip(words.skip(place + 1, &["concurrently"]), &["if", "exists"]);
    let (name, behind) = words.name(place)?;
    // CASCADE takes along what nobody named, and a list is several.
    let rest: Vec<String> = (behind..words.lexemes.len()).map(|at| words.at(at)).collect();
    (!rest.iter().any(|word| word == "cascade" || word == ",")).then_some(Shape::Drop { kind, name })
}

fn altered(words: &Words<'_>, text: &str) -> Option<Shape> {
    if words.at(1) != "table" {
        let (name, place) = words.name(2)?;
        let value = words.skip(words.skip(place, &["add", "value"]), &["if", "not", "exists"]);
        let is_added = words.at(1) == "type" && value > place;
        let literal = |at: usize| words.lexemes.get(at).map(|one| one.text.to_owned());
        let after = if words.at(value + 1) == "after" { literal(value + 2) } else { None };
        let length = value + if after.is_some() { 3 } else { 1 };
        if is_added && words.lexemes.len() == length {
            return Some(Shape::AddValue { name, value: literal(value)?, after });
        }
        return Some(Shape::Of { name, writes: false });
    }
    let place = words.skip(words.skip(2, &["if", "exists"]), &["only"]);
    let (table, place) = words.name(place)?;
    let whole = || Some(Shape::Of { name: table.clone(), writes: false });
    if words.has_comma_behind(place) {
        return whole();
    }
    let is = |list: &[&str]| words.starts(place, list);
    let part = |place: usize| words.name(place).map(|(name, _)| name);
    if is(&["add", "constraint"]) {
        let last = words.lexemes.len();
        let not_valid = last > 2 && words.starts(last - 2, &["not", "valid"]);
        return Some(Shape::AddConstraint { table: table.clone(), name: part(place + 2)?, not_valid });
    }
    if is(&["drop", "constraint"]) {
        let at = words.skip(place + 2, &["if", "exists"]);
        return Some(Shape::DropConstraint { table: table.clone(), name: part(at)? });
    }
    if is(&["validate", "constraint"]) {
        return Some(Shape::Validate { table: table.clone(), name: part(place + 2)? });
    }
    if is(&["add", "column"]) {
        let at = words.skip(place + 2, &["if", "not", "exists"]);
        let start = words.lexemes.get(at)?.offset;
        let definition = text[start..].trim().to_owned();
        return Some(Shape::AddColumn { table: table.clone(), column: part(at)?, definition });
    }
    if is(&["drop", "column"]) {
        let at = words.skip(place + 2, &["if", "exists"]);
        return Some(Shape::DropColumn { table: table.clone(), column: part(at)? });
    }
    whole()
}

/// The last part of a name.
pub(super) fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether a statement may mean this name: as a token, or within a string or a function's body.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let name = bare(name);
    Words::of(text).lexemes.iter().any(|one| match one.kind {
        TokenKind::Ident | TokenKind::QuotedIdent { .. } => folded(one) == name,
        TokenKind::Literal { .. } => {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            one.text.to_lowercase().split(|c: char| !is_word(c)).any(|word| word == name)
        }
        _ => false,
    })
}
