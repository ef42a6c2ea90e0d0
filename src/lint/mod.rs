//! Findings from the text of SQL statements (pure).
