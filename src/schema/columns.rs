//! The text of a table without the order of its columns: `ALTER TABLE … ADD COLUMN` appends, so two histories that lead to
//! the same columns lead to different orders.

use squawk_lexer::{TokenKind, tokenize};

use super::entry::SchemaEntry;

/// Kinds of entries whose first parentheses hold columns.
const KINDS: [&str; 2] = ["TABLE", "FOREIGN TABLE"];

impl SchemaEntry {
    /// The same entry with the elements of its column list sorted.
    pub(super) fn with_columns_sorted(mut self) -> SchemaEntry {
        if KINDS.contains(&self.kind.as_str())
            && let Some(text) = sorted(&self.text)
        {
            self.text = text;
        }
        self
    }
}

fn sorted(text: &str) -> Option<String> {
    let (mut depth, mut offset) = (0_usize, 0);
    // Where the list begins behind its parenthesis, and the elements that ended.
    let mut start = None;
    let mut elements: Vec<&str> = Vec::new();
    for token in tokenize(text) {
        let begin = offset;
        offset += token.len as usize;
        match (token.kind, start) {
            (TokenKind::OpenParen, None) => start = Some(offset),
            (TokenKind::OpenParen, Some(_)) => depth += 1,
            (TokenKind::CloseParen, Some(first)) if depth == 0 => {
                elements.push(text[first..begin].trim());
                elements.sort_unstable();
                let list = elements.join(",\n    ");
                let head = &text[..text.find('(')? + 1];
                return Some(format!("{head}\n    {list}\n{}", &text[begin..]));
            }
            (TokenKind::CloseParen, Some(_)) => depth -= 1,
            (TokenKind::Comma, Some(first)) if depth == 0 => {
                elements.push(text[first..begin].trim());
                start = Some(offset);
            }
            // `CREATE TABLE … PARTITION OF … FOR VALUES` has no list.
            (TokenKind::Semi, None) => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, text: &str) -> SchemaEntry {
        SchemaEntry { kind: kind.to_owned(), schema: "public".to_owned(), name: "t".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_order_of_columns_does_not_count_and_all_else_does() {
        let one = "CREATE TABLE public.t (\n    b text DEFAULT 'x,(y'::text,\n    a numeric(6,2) NOT NULL\n);\n\n\nALTER TABLE public.t OWNER TO app;";
        let other = "CREATE TABLE public.t (\n    a numeric(6,2) NOT NULL,\n    b text DEFAULT 'x,(y'::text\n);\n\n\nALTER TABLE public.t OWNER TO app;";
        let sorted = |text: &str| entry("TABLE", text).with_columns_sorted().text;
        assert_eq!(sorted(one), sorted(other));
        assert_ne!(sorted(one), sorted(&other.replace("6,2", "7,2")));
        assert_ne!(sorted(one), sorted(&other.replace("TO app", "TO boss")));
        assert_eq!(sorted(&sorted(one)), sorted(one));
        assert_eq!(entry("TYPE", one).with_columns_sorted().text, one);
    }

    #[test]
    fn what_follows_the_list_stays() {
        let text = "CREATE TABLE public.t (\n    b int,\n    a int\n)\nPARTITION BY RANGE (b, a);";
        let sorted = entry("TABLE", text).with_columns_sorted().text;
        assert_eq!(sorted, "CREATE TABLE public.t (\n    a int,\n    b int\n)\nPARTITION BY RANGE (b, a);");
    }
}
