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
        ("CREATE TABLE public.t (a integer, b boolean GENERATED ALWAYS AS (public.evil(a)) STORED)", "table public.t"),
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
        ("CREATE INDEX \"i\" ON \"public\".\"t\" USING \"btree\" (((\"a\" > 0) = \"public\".\"evil\"(1)))", "index i"),
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
    let both = "ALTER FUNCTION public.f(integer) OWNER TO mallory;\nALTER FUNCTION public.f(text) OWNER TO postgres;\n";
    assert_eq!(owners(both), [Some("mallory".to_owned())]);
}
