//! Functions of others that would run as whoever loads a schema or its rows: in checks, generated columns, partition keys,
//! domains, casts.
//!
//! PostgreSQL runs what an index, a materialized view or statistics call as the owner of the table, who can become nobody
//! else meanwhile (`SECURITY_RESTRICTED_OPERATION`, CVE-2022-1552). All else that is evaluated while rows come in runs as the
//! session that loads them, and neither `SET ROLE` nor `SET SESSION AUTHORIZATION` is a wall: a function takes both back.
//!
//! Found in the script of the archive, which says everything with its schema, before any of it is run. What a statement is
//! and whose a function is, is read from the statements: in the comments above them a role's name may say anything.

use std::collections::{BTreeMap, BTreeSet};

use super::roles::without_restrict;
use super::{DatabaseError, Session};
use crate::migration::split_statements;

/// A function of somebody who is not trusted, and what calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ForeignCode {
    /// Whose it is; none: the script does not say.
    pub owner: Option<String>,
    /// Its schema and name.
    pub function: String,
    /// What calls it: `table public.dish`.
    pub used_by: String,
    /// Whether it runs only while rows come into tables of owners who are not trusted either.
    pub with_rows_only: bool,
}

/// What loading a script would run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundCode {
    /// The functions, each with what calls it.
    pub code: Vec<ForeignCode>,
    /// The owners of tables who are not trusted.
    pub table_owners: BTreeSet<String>,
}

impl FoundCode {
    /// Whether nothing of it runs when each table is loaded by a login that can do no more than the table's owner.
    pub fn is_loaded_by_owners(&self) -> bool {
        !self.code.is_empty() && self.code.iter().all(|code| code.with_rows_only)
    }
}

impl std::fmt::Display for ForeignCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let owner = self.owner.as_deref().unwrap_or("nobody knows whom");
        write!(f, "{} of {owner}, called by {}", self.function, self.used_by)
    }
}

/// Roles whose functions may run as the role that loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedOwners(BTreeSet<String>);

impl TrustedOwners {
    /// The server's superusers, the role of the session itself, and those that the operator named.
    pub async fn read(session: &Session, named: &[String]) -> Result<Self, DatabaseError> {
        let sql = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper OR rolname = session_user";
        let rows = session.query(sql, &[]).await?;
        let mut names: BTreeSet<String> = named.iter().cloned().collect();
        for row in rows {
            names.insert(row.try_get(0)?);
        }
        Ok(Self(names))
    }

    /// These too.
    #[must_use]
    pub fn with(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.0.extend(more);
        self
    }

    fn has(&self, owner: &str) -> bool {
        self.0.contains(owner)
    }
}

/// Signs of an operator, at most (`NAMEDATALEN`).
const SYMBOL: usize = 64;

/// A schema and a name.
type Name = (String, String);

/// What would run while this script (`pg_restore --file=-`) and the rows of its tables are loaded. The error: why the script
/// cannot be read.
pub fn of_script(script: &str, trusted: &TrustedOwners) -> Result<FoundCode, String> {
    let statements = split_statements(without_restrict(script), 1).map_err(|error| error.to_string())?;
    let statements: Vec<Vec<&str>> = statements.iter().map(crate::migration::Statement::tokens).collect();
    let foreign = Foreign::of(&statements, trusted);
    if foreign.functions.is_empty() {
        return Ok(FoundCode::default());
    }
    let tables = Tables::of(&statements, trusted);
    let mut found: BTreeSet<ForeignCode> = statements.iter().flat_map(|one| foreign.run_by(one, &tables)).collect();
    if !found.is_empty() && tables.rows_of_trusted_run(&foreign, &statements) {
        found = found.into_iter().map(|code| ForeignCode { with_rows_only: false, ..code }).collect();
    }
    Ok(FoundCode { code: found.into_iter().collect(), table_owners: tables.untrusted.into_values().collect() })
}

/// Whose the tables are.
#[derive(Default)]
struct Tables {
    /// Those of owners who are not trusted.
    untrusted: BTreeMap<Name, String>,
}

impl Tables {
    fn of(statements: &[Vec<&str>], trusted: &TrustedOwners) -> Self {
        let owned = statements.iter().filter_map(|statement| match statement.as_slice() {
            ["ALTER", "TABLE", schema, ".", name, "OWNER", "TO", owner] => {
                Some((pair(schema, name), identifier(owner)))
            }
            _ => None,
        });
        Self { untrusted: owned.filter(|(_, owner)| !trusted.has(owner)).collect() }
    }

    /// Whether rows of a table of somebody who is trusted run code of others too: by a domain somewhere in a column, or by a
    /// table that it inherits from or is a partition of.
    fn rows_of_trusted_run(&self, foreign: &Foreign, statements: &[Vec<&str>]) -> bool {
        let mut tables: BTreeSet<Name> = BTreeSet::new();
        // What names a type, or is a part of it.
        let mut users: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        let mut next: Vec<Name> = Vec::new();
        for statement in statements {
            if let ["ALTER", "TABLE", "ONLY", schema, ".", name, "ATTACH", "PARTITION", of, ".", part, ..] =
                statement.as_slice()
            {
                users.entry(pair(schema, name)).or_default().push(pair(of, part));
            }
            let Some(made) = made_type(statement) else { continue };
            if !matches!(statement.get(1), Some(&("DOMAIN" | "TYPE"))) {
                tables.insert(made.clone());
            }
            for named in named_types(statement) {
                users.entry(named).or_default().push(made.clone());
            }
            if !foreign.run_by(statement, self).is_empty() {
                next.push(made);
            }
        }
        let mut reached: BTreeSet<Name> = BTreeSet::new();
        while let Some(name) = next.pop() {
            if reached.insert(name.clone()) {
                next.extend(users.remove(&name).unwrap_or_default());
            }
        }
        reached.iter().any(|name| tables.contains(name) && !self.untrusted.contains_key(name))
    }
}

/// The type that a statement makes; a table is one too.
fn made_type(statement: &[&str]) -> Option<Name> {
    match statement {
        ["CREATE", "TABLE" | "DOMAIN" | "TYPE", schema, ".", name, ..]
        | ["CREATE", "UNLOGGED" | "FOREIGN", "TABLE", schema, ".", name, ..] => Some(pair(schema, name)),
        _ => None,
    }
}

/// Everything that a statement names with its schema, types among it.
fn named_types<'a>(statement: &'a [&'a str]) -> impl Iterator<Item = Name> + 'a {
    statement.windows(3).filter_map(|three| match three {
        [schema, ".", name] if is_name(schema) && is_name(name) => Some(pair(schema, name)),
        _ => None,
    })
}

/// What would run when this session writes rows of a table that is there: also triggers and rules, and the indexes, which
/// only PostgreSQL's own commands evaluate as the owner.
pub async fn of_writes(
    session: &Session,
    table: u32,
    trusted: &TrustedOwners,
) -> Result<Vec<ForeignCode>, DatabaseError> {
    let mut found = BTreeSet::new();
    for row in session.query(WRITES, &[&table]).await? {
        let (owner, function, used_by) = (Some(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?);
        let code = ForeignCode { owner, function, used_by, with_rows_only: false };
        if !code.owner.as_deref().is_some_and(|owner| trusted.has(owner)) {
            found.insert(code);
        }
    }
    Ok(found.into_iter().collect())
}

const WRITES: &str = "WITH RECURSIVE tables AS (
        SELECT $1::pg_catalog.oid AS oid
        UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tables t ON i.inhparent = t.oid
    ), callers AS (
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass AS catalog, c.oid, 'constraint ' || c.conname AS what
        FROM pg_catalog.pg_constraint c JOIN tables t ON c.conrelid = t.oid
        UNION ALL
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, 'domain constraint ' || c.conname
        FROM pg_catalog.pg_constraint c WHERE c.contypid <> 0
        UNION ALL
        SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, 'default of column ' || a.attname
        FROM pg_catalog.pg_attrdef d JOIN tables t ON d.adrelid = t.oid
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, 'index ' || i.indexrelid::pg_catalog.regclass::text
        FROM pg_catalog.pg_index i JOIN tables t ON i.indrelid = t.oid
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, 'the partition key' FROM tables t
        UNION ALL
        SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid, 'trigger ' || g.tgname
        FROM pg_catalog.pg_trigger g JOIN tables t ON g.tgrelid = t.oid WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
        UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, 'rule ' || r.rulename
        FROM pg_catalog.pg_rewrite r JOIN tables t ON r.ev_class = t.oid
    ), called AS (
        SELECT c.what, coalesce(o.oprcode::pg_catalog.oid, d.refobjid) AS function
        FROM callers c JOIN pg_catalog.pg_depend d ON d.classid = c.catalog AND d.objid = c.oid
        LEFT JOIN pg_catalog.pg_operator o
            ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
        WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
        UNION ALL
        SELECT 'a cast', c.castfunc FROM pg_catalog.pg_cast c WHERE c.castfunc <> 0 AND c.oid >= 16384
    )
    SELECT pg_catalog.pg_get_userbyid(p.proowner)::text, n.nspname::text || '.' || p.proname::text, called.what
    FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.function
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace";

/// What belongs to others.
#[derive(Default)]
struct Foreign {
    functions: BTreeMap<Name, Option<String>>,
    /// Operators, by the function behind them.
    operators: BTreeMap<Name, Name>,
}

impl Foreign {
    fn of(statements: &[Vec<&str>], trusted: &TrustedOwners) -> Self {
        let mut owners: BTreeMap<Name, Option<String>> = BTreeMap::new();
        for statement in statements {
            match statement.as_slice() {
                ["CREATE", "FUNCTION" | "PROCEDURE", schema, ".", name, ..]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", schema, ".", name, ..] => {
                    owners.entry(pair(schema, name)).or_default();
                }
                ["ALTER", "FUNCTION" | "PROCEDURE", schema, ".", name, .., "OWNER", "TO", owner] => {
                    let known = owners.entry(pair(schema, name)).or_default();
                    // Of several with one name, one of a stranger is enough.
                    if known.as_deref().is_none_or(|known| trusted.has(known)) {
                        *known = Some(identifier(owner));
                    }
                }
                _ => {}
            }
        }
        owners.retain(|_, owner| owner.as_deref().is_none_or(|owner| !trusted.has(owner)));
        let operators = statements.iter().filter_map(|statement| operator(statement));
        let operators = operators.filter(|(_, function)| owners.contains_key(function)).collect();
        Self { functions: owners, operators }
    }

    fn run_by(&self, statement: &[&str], tables: &Tables) -> Vec<ForeignCode> {
        let (used_by, which) = match statement {
            ["CREATE", "TABLE", schema, ".", name, ..]
            | ["CREATE", "UNLOGGED" | "FOREIGN", "TABLE", schema, ".", name, ..] => {
                (format!("table {}", shown(&pair(schema, name))), Which::ButDefaults)
            }
            ["CREATE", "DOMAIN", schema, ".", name, ..] => {
                (format!("domain {}", shown(&pair(schema, name))), Which::ButDefaults)
            }
            ["ALTER", "TABLE", "ONLY", schema, ".", name, "ADD", "CONSTRAINT", constraint, kind, ..]
            | ["ALTER", "TABLE" | "DOMAIN", schema, ".", name, "ADD", "CONSTRAINT", constraint, kind, ..] => {
                let which = if *kind == "EXCLUDE" { Which::Folded } else { Which::All };
                (format!("constraint {} of {}", identifier(constraint), shown(&pair(schema, name))), which)
            }
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                (format!("index {}", identifier(name)), Which::Folded)
            }
            ["CREATE", "STATISTICS", schema, ".", name, ..] => {
                (format!("statistics {}", shown(&pair(schema, name))), Which::Folded)
            }
            ["CREATE", "EVENT", "TRIGGER", name, ..] => (format!("event trigger {}", identifier(name)), Which::All),
            // No expression shows where it is used.
            ["CREATE", "CAST", ..] => ("a cast".to_owned(), Which::All),
            _ => return Vec::new(),
        };
        let of_trusted = |name: &Name| statement.get(1) != Some(&"DOMAIN") && !tables.untrusted.contains_key(name);
        let always = which != Which::ButDefaults || made_type(statement).is_none_or(|made| of_trusted(&made));
        let called = calls(statement).into_iter().filter(|call| which.counts(statement, call));
        let functions = called.filter_map(|call| {
            let name = if call.operator { self.operators.get(&call.name)? } else { &call.name };
            let (function, owner) = self.functions.get_key_value(name)?;
            // A partition key of constants alone is evaluated when the table is made.
            let at_once = call.clause == Some("PARTITION") && Which::Folded.counts(statement, &call);
            Some((function, owner, !always && !at_once))
        });
        let code = |(function, owner, with_rows_only): (&Name, &Option<String>, bool)| ForeignCode {
            owner: owner.clone(),
            function: shown(function),
            used_by: used_by.clone(),
            with_rows_only,
        };
        functions.map(code).collect()
    }
}

/// Which of the calls in a statement run as the session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Every one.
    All,
    /// All but those in `DEFAULT`: every column is loaded with its value.
    ButDefaults,
    /// Those of constants alone: the planner of any session may evaluate them. The others run as the table's owner.
    Folded,
}

impl Which {
    fn counts(self, statement: &[&str], call: &Call) -> bool {
        match self {
            Self::All => true,
            Self::ButDefaults => call.clause != Some("DEFAULT"),
            Self::Folded => call.operator || !is_of_columns(statement.get(call.arguments..).unwrap_or_default()),
        }
    }
}

/// A function or an operator where it is called.
struct Call {
    name: Name,
    operator: bool,
    /// The clause of a table or of a domain that it stands in.
    clause: Option<&'static str>,
    /// Index of the token behind the opening parenthesis.
    arguments: usize,
}

/// What is called in a statement, with its schema; what has none is of the catalog.
fn calls(statement: &[&str]) -> Vec<Call> {
    let (mut depth, mut clause) = (0_u32, None);
    let mut found = Vec::new();
    for (at, token) in statement.iter().enumerate() {
        match *token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth <= 1 => clause = None,
            "DEFAULT" if depth <= 1 => clause = Some("DEFAULT"),
            "CHECK" | "GENERATED" | "CONSTRAINT" if depth <= 1 => clause = None,
            "PARTITION" if depth == 0 => clause = Some("PARTITION"),
            _ => {}
        }
        let call = |name, operator, arguments| Call { name, operator, clause, arguments };
        match &statement[at..] {
            ["OPERATOR", "(", schema, ".", rest @ ..] => {
                let symbol: String = rest.iter().take(SYMBOL).take_while(|token| **token != ")").copied().collect();
                found.push(call((identifier(schema), symbol), true, at));
            }
            // Not the last two parts of a longer name.
            [schema, ".", name, "(", ..]
                if is_name(schema) && is_name(name) && (at == 0 || statement[at - 1] != ".") =>
            {
                found.push(call(pair(schema, name), false, at + 4));
            }
            _ => {}
        }
    }
    found
}

/// Whether the arguments that begin here, up to their closing parenthesis, name a column and do nothing but cast: such a call
/// depends on a row, so nothing evaluates it before there is one.
fn is_of_columns(arguments: &[&str]) -> bool {
    let (mut depth, mut columns) = (1_u32, 0);
    for (at, token) in arguments.iter().enumerate() {
        let next = arguments.get(at + 1).copied().unwrap_or_default();
        let before = at.checked_sub(1).map(|at| arguments[at]).unwrap_or_default();
        match *token {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," | "." | ":" | "::" => {}
            name if is_name(name) => {
                let is_keyword = !name.starts_with('"') && name != name.to_lowercase();
                if next == "(" || is_keyword {
                    return false;
                }
                columns += u32::from(before != ":" && before != "::" && before != "." && next != ".");
            }
            literal if literal.starts_with(['\'', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {}
            _ => return false,
        }
        if depth == 0 {
            return columns > 0;
        }
    }
    false
}

/// An operator and its function.
fn operator(statement: &[&str]) -> Option<(Name, Name)> {
    let ["CREATE", "OPERATOR", schema, ".", rest @ ..] = statement else { return None };
    let symbol: String = rest.iter().take(SYMBOL).take_while(|token| **token != "(").copied().collect();
    let at = rest.iter().position(|token| matches!(*token, "FUNCTION" | "PROCEDURE"))?;
    let ["=", function_schema, ".", function, ..] = rest.get(at + 1..)? else { return None };
    Some(((identifier(schema), symbol), pair(function_schema, function)))
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter == '"' || letter == '_' || letter.is_alphabetic())
}

fn pair(schema: &str, name: &str) -> Name {
    (identifier(schema), identifier(name))
}

/// An identifier without its quotes.
fn identifier(token: &str) -> String {
    match token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => token.to_lowercase(),
    }
}

fn shown((schema, name): &Name) -> String {
    format!("{schema}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTIONS: &str = "\\restrict abc\nSET row_security = off;\n\
        CREATE FUNCTION \"public\".\"evil\"(\"x\" integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN; END; $$;\n\
        ALTER FUNCTION \"public\".\"evil\"(\"x\" integer) OWNER TO \"mallory\";\n\
        CREATE FUNCTION public.good(x integer) RETURNS boolean LANGUAGE sql AS 'OWNER TO mallory';\n\
        ALTER FUNCTION public.good(x integer) OWNER TO postgres;\n\
        CREATE OPERATOR \"public\".+ ( FUNCTION = \"public\".\"evil\", LEFTARG = integer, RIGHTARG = integer );\n";

    fn found(statement: &str) -> Vec<String> {
        let trusted = TrustedOwners::default().with(["postgres".to_owned()]);
        let script = format!("{FUNCTIONS}{statement};\n\\unrestrict abc\n");
        of_script(&script, &trusted).unwrap().code.into_iter().map(|code| code.used_by).collect()
    }

    /// Whether the code runs with rows only, when tables belong to these.
    fn with_rows(statement: &str, owners: &[(&str, &str)]) -> bool {
        let trusted = TrustedOwners::default().with(["postgres".to_owned()]);
        let owners: String =
            owners.iter().map(|(table, owner)| format!("ALTER TABLE public.{table} OWNER TO {owner};\n")).collect();
        of_script(&format!("{FUNCTIONS}{statement};\n{owners}"), &trusted).unwrap().is_loaded_by_owners()
    }

    #[test]
    fn what_runs_with_rows_only_is_told_from_the_rest() {
        let check = "CREATE TABLE public.t (a integer, CONSTRAINT c CHECK (public.evil(a)))";
        assert!(with_rows(check, &[("t", "waiter")]));
        // Its owner may do everything, and nobody is less.
        assert!(!with_rows(check, &[("t", "postgres")]));
        assert!(!with_rows(check, &[]));
        let key = |key: &str| format!("CREATE TABLE public.t (a integer) PARTITION BY RANGE ({key})");
        assert!(with_rows(&key("public.evil(a)"), &[("t", "waiter")]));
        assert!(!with_rows(&key("((a > 0) = public.evil(1))"), &[("t", "waiter")]));
        let domain = "CREATE DOMAIN public.d AS integer CONSTRAINT c CHECK (public.evil(VALUE))";
        let within = |statements: &str| format!("{domain};\n{statements}");
        assert!(with_rows(domain, &[]));
        assert!(with_rows(&within("CREATE TABLE public.t (a public.d)"), &[("t", "waiter")]));
        assert!(!with_rows(&within("CREATE TABLE public.t (a public.d)"), &[("t", "postgres")]));
        let nested = "CREATE TYPE public.c AS (x public.d);\nCREATE DOMAIN public.e AS public.c;\nCREATE TABLE public.t (a public.e[])";
        assert!(with_rows(&within(nested), &[("t", "waiter")]));
        assert!(!with_rows(&within(nested), &[("t", "postgres")]));
        let parent = "CREATE TABLE public.p (a integer, CONSTRAINT c CHECK (public.evil(a)))";
        let child = format!("{parent};\nCREATE TABLE public.t () INHERITS (public.p)");
        assert!(with_rows(&child, &[("p", "waiter"), ("t", "waiter")]));
        assert!(!with_rows(&child, &[("p", "waiter"), ("t", "postgres")]));
        let part = "CREATE TABLE public.p (a integer) PARTITION BY LIST (public.evil(a));\nCREATE TABLE public.t (a integer);\n\
                    ALTER TABLE ONLY public.p ATTACH PARTITION public.t DEFAULT";
        assert!(with_rows(part, &[("p", "waiter"), ("t", "waiter")]));
        assert!(!with_rows(part, &[("p", "waiter"), ("t", "postgres")]));
        let row = "CREATE TABLE public.w (a public.d);\nCREATE TABLE public.t (a public.w)";
        assert!(!with_rows(&within(row), &[("w", "waiter"), ("t", "postgres")]));
        for statement in [
            "ALTER TABLE public.t ADD CONSTRAINT c CHECK (public.evil(t.*))",
            "CREATE INDEX i ON public.t USING btree (a) WHERE public.evil(1)",
            "CREATE CAST (public.kind AS integer) WITH FUNCTION public.evil(public.kind) AS IMPLICIT",
        ] {
            assert!(!with_rows(statement, &[("t", "waiter")]), "{statement}");
        }
    }

    #[test]
    fn what_runs_while_rows_come_in_is_found() {
        for (statement, used_by) in [
            (
                "CREATE TABLE \"public\".\"t\" (\"a\" integer, CONSTRAINT \"c\" CHECK (\"public\".\"evil\"(\"a\")))",
                "table public.t",
            ),
            ("CREATE UNLOGGED TABLE public.t (a integer, CONSTRAINT c CHECK (public.evil(a)))", "table public.t"),
            (
                "CREATE TABLE public.t (a integer, b boolean GENERATED ALWAYS AS (public.evil(a)) STORED)",
                "table public.t",
            ),
            (
                "CREATE TABLE public.t (a integer DEFAULT 1, b boolean GENERATED ALWAYS AS (public.evil(a)) STORED)",
                "table public.t",
            ),
            ("CREATE TABLE public.t (a integer DEFAULT 1 CONSTRAINT c CHECK (public.evil(a)))", "table public.t"),
            ("CREATE TABLE public.t (a integer) PARTITION BY RANGE (public.evil(a))", "table public.t"),
            ("CREATE TABLE public.t (a integer, CONSTRAINT c CHECK ((a OPERATOR(public.+) 1)))", "table public.t"),
            ("CREATE DOMAIN public.d AS integer DEFAULT 3 CONSTRAINT c CHECK (public.evil(VALUE))", "domain public.d"),
            ("ALTER TABLE public.t ADD CONSTRAINT c CHECK (public.evil(t.*)) NOT VALID", "constraint c of public.t"),
            ("CREATE CAST (public.kind AS integer) WITH FUNCTION public.evil(public.kind) AS IMPLICIT", "a cast"),
            ("CREATE EVENT TRIGGER w ON ddl_command_start EXECUTE FUNCTION public.evil()", "event trigger w"),
            // An immutable function of a constant is evaluated by whoever plans a query of the table.
            (
                "CREATE INDEX \"i\" ON \"public\".\"t\" USING \"btree\" (((\"a\" > 0) = \"public\".\"evil\"(1)))",
                "index i",
            ),
            ("CREATE INDEX i ON public.t USING btree (public.evil(COALESCE(1, a)))", "index i"),
            ("CREATE INDEX i ON public.t USING btree (public.evil(abs(1)))", "index i"),
            ("CREATE INDEX i ON public.t USING btree (a) WHERE public.evil(1)", "index i"),
        ] {
            assert_eq!(found(statement), [used_by], "{statement}");
        }
    }

    #[test]
    fn what_is_trusted_or_runs_as_its_owner_is_not() {
        for statement in [
            "CREATE TABLE public.t (a boolean DEFAULT public.evil(1) NOT NULL, b integer)",
            "CREATE TABLE public.t (a integer, CONSTRAINT c CHECK (public.good(a)))",
            "CREATE TABLE public.t (a integer, CONSTRAINT c CHECK ((a > 0)))",
            "CREATE TABLE public.t (a text, CONSTRAINT c CHECK ((a <> 'public.evil(1)'::text)))",
            "CREATE INDEX \"i\" ON \"public\".\"t\" USING \"btree\" (\"public\".\"evil\"(\"a\"))",
            "CREATE INDEX i ON public.t USING btree (public.evil((a)::public.kind, 'x'::text))",
            "CREATE MATERIALIZED VIEW public.v AS SELECT public.evil(1) WITH NO DATA",
            "CREATE TRIGGER w BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.evil()",
            "CREATE VIEW public.v AS SELECT public.evil(1)",
            "CREATE CAST (public.kind AS integer) WITH INOUT AS IMPLICIT",
        ] {
            assert_eq!(found(statement), Vec::<String>::new(), "{statement}");
        }
    }

    #[test]
    fn an_owner_is_read_from_the_statement_alone() {
        let trusted = TrustedOwners::default().with(["postgres".to_owned()]);
        let table = "CREATE TABLE public.t (a integer, CHECK (public.f(a)))";
        let owners = |owners: &str| {
            let script =
                format!("CREATE FUNCTION public.f(integer) RETURNS boolean LANGUAGE sql AS 'x';\n{owners}{table};");
            of_script(&script, &trusted).unwrap().code.into_iter().map(|code| code.owner).collect::<Vec<_>>()
        };
        assert_eq!(
            owners("ALTER FUNCTION public.f(integer) OWNER TO \"x; Owner: postgres\";\n"),
            [Some("x; Owner: postgres".to_owned())]
        );
        // Nobody's is nobody's whom we trust.
        assert_eq!(owners(""), [None]);
        let both =
            "ALTER FUNCTION public.f(integer) OWNER TO mallory;\nALTER FUNCTION public.f(text) OWNER TO postgres;\n";
        assert_eq!(owners(both), [Some("mallory".to_owned())]);
    }
}
