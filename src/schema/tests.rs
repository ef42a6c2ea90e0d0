use std::collections::BTreeSet;

use super::*;

/// Written by pg_dump 15.18; shortened to one entry of each sort that needs care.
const DUMP: &str = include_str!("fixtures/pg_dump_15.sql");

fn schema() -> Schema {
    let extensions = vec![Extension { name: "citext".to_owned(), version: "1.6".to_owned() }];
    let invalid = vec!["safe_migrate.i".to_owned(), "public.orders_order_n".to_owned()];
    Schema::from_dump(DUMP, extensions, invalid)
}

fn changed_dump(from: &str, to: &str) -> Schema {
    assert!(DUMP.contains(from), "{from}");
    Schema::from_dump(&DUMP.replace(from, to), schema().extensions, schema().invalid_indexes)
}

fn entry<'a>(schema: &'a Schema, kind: &str, name: &str) -> &'a SchemaEntry {
    schema.entries().iter().find(|entry| entry.kind == kind && entry.name == name).unwrap()
}

#[test]
fn finds_the_entries_and_nothing_that_looks_like_one() {
    let keys: Vec<String> = schema().entries().iter().map(|entry| entry.key().to_string()).collect();
    assert_eq!(
        keys,
        [
            "ACL public.COLUMN orders_order.id",
            "ACL public.TABLE orders_order",
            "ACL public.TABLE v",
            "COMMENT public.TABLE accounts_user",
            "CONSTRAINT public.orders_order orders_order_pkey",
            "DEFAULT ACL public.DEFAULT PRIVILEGES FOR TABLES",
            "DEFAULT ACL public.DEFAULT PRIVILEGES FOR TABLES",
            "FK CONSTRAINT public.orders_order orders_order_user_id_fkey",
            "FUNCTION public.touch()",
            "INDEX public.orders_order_n",
            "SCHEMA we;ird\"s",
            "TABLE public.accounts_user",
            "TABLE public.orders_order",
            "TABLE we;ird\"s.a b; Type: TABLE; x",
            "TRIGGER public.orders_order orders_touch",
            "TYPE public.mood",
            "VIEW public.v",
        ]
    );
    assert_eq!(schema().invalid_indexes(), ["public.orders_order_n"]);
}

#[test]
fn keeps_the_text_of_an_object_to_the_letter() {
    let schema = schema();
    let function = &entry(&schema, "FUNCTION", "touch()").text;
    assert!(function.starts_with("CREATE FUNCTION public.touch() RETURNS trigger\n"));
    assert!(function.contains("\n--\n-- Name: fake3; Type: TABLE; Schema: public; Owner: o\n--\nSET LOCAL x = 1;\n"));
    assert!(function.contains("-- a remark that must stay\n\n  RETURN NEW;"));
    // The settings that follow it in the dump are for the tables behind it.
    assert!(function.ends_with("ALTER FUNCTION public.touch() OWNER TO postgres;"), "{function}");
    assert!(entry(&schema, "COMMENT", "TABLE accounts_user").text.ends_with("\nSET x = 1;\n';"));
    assert!(entry(&schema, "ACL", "TABLE v").text.contains("\nSET SESSION AUTHORIZATION reader;\nGRANT SELECT"));
    let last = &entry(&schema, "DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES").text;
    assert!(last.ends_with("TO reader;"), "{last}");
}

#[test]
fn the_session_of_the_dump_does_not_matter() {
    for (from, to) in [
        ("\\restrict SfbTUSgy0kUOgFn69zsoBgeenmERfGYzgCoCzbOQ0R5z8pSBbzCUFU28aVJ1nCY", "\\restrict other"),
        ("-- Dumped by pg_dump version 15.18", "-- Dumped by pg_dump version 15.19"),
        ("SET lock_timeout = 0;", "SET lock_timeout = 0;\nSET transaction_timeout = 0;"),
        ("SET default_tablespace = '';", "SET default_tablespace = fast;"),
        ("Owner: app_owner\n--\n\nCREATE TABLE", "Owner: app_owner; Tablespace: fast\n--\n\nCREATE TABLE"),
    ] {
        assert_eq!(changed_dump(from, to).fingerprint(), schema().fingerprint(), "{from}");
    }
}

#[test]
fn the_ledger_does_not_matter() {
    let changed = changed_dump("CREATE TABLE safe_migrate.migration (", "CREATE TABLE safe_migrate.migration ( x int,");
    assert_eq!(changed, schema());
    assert!(!schema().entries().iter().any(|entry| entry.text.contains("safe_migrate")));
}

#[test]
fn the_order_of_the_dump_does_not_matter_and_every_text_does() {
    let mut turned = schema();
    turned.entries.reverse();
    assert_eq!(turned.sorted().fingerprint(), schema().fingerprint());
    let mut hashes = BTreeSet::from([schema().fingerprint().to_string()]);
    let changes = [
        ("ALTER TABLE public.accounts_user OWNER TO app_owner", "ALTER TABLE public.accounts_user OWNER TO bob"),
        ("'sad',", "'sadder',"),
        ("USING btree (n)", "USING btree (n) WHERE (n > 0)"),
        ("GRANT UPDATE ON TABLE", "GRANT DELETE ON TABLE"),
        ("RESET SESSION AUTHORIZATION;\n", "RESET SESSION AUTHORIZATION;\nGRANT INSERT ON TABLE public.v TO bob;\n"),
        ("NEW.n := 1;", "NEW.n := 2;"),
        ("'a;b'::text", "'a;c'::text"),
        ("SET search_path TO 'public'", "SET search_path TO 'other'"),
    ];
    for (from, to) in changes {
        assert!(hashes.insert(changed_dump(from, to).fingerprint().to_string()), "{from}");
    }
    let mut upgraded = schema();
    upgraded.extensions[0].version = "1.7".to_owned();
    assert!(hashes.insert(upgraded.fingerprint().to_string()));
    let mut rebuilt = schema();
    rebuilt.invalid_indexes.clear();
    assert!(hashes.insert(rebuilt.fingerprint().to_string()));
}

#[test]
fn equal_entries_count() {
    let mut twice = schema();
    twice.entries.push(twice.entries[0].clone());
    let twice = twice.sorted();
    assert_ne!(twice.fingerprint(), schema().fingerprint());
    assert_eq!(twice.difference(&schema()).only_left, [schema().entries[0].clone()]);
}

#[test]
fn the_difference_names_each_entry_with_its_lines() {
    let mut other = changed_dump("    n integer DEFAULT 0\n", "    n bigint DEFAULT 0\n");
    other.entries.retain(|entry| entry.name != "orders_order_n");
    other.extensions[0].version = "1.7".to_owned();
    other.invalid_indexes.clear();
    let difference = schema().difference(&other);
    assert_eq!(
        difference.to_string(),
        "~ EXTENSION VERSION citext\n    - version 1.6\n    + version 1.7\n\
         ~ TABLE public.orders_order\n    -     n integer DEFAULT 0\n    +     n bigint DEFAULT 0\n\
         - INDEX public.orders_order_n\n    \
         - CREATE INDEX orders_order_n ON public.orders_order USING btree (n);\n\
         - INVALID INDEX public.orders_order_n\n    - invalid"
    );
    assert_eq!(difference.render(3).lines().last(), Some("… and 8 more lines (4 entries differ)"));
    assert!(schema().difference(&schema()).is_empty());
    assert_eq!(schema().difference(&schema()).to_string(), "");
}

#[test]
fn changes_are_told_from_what_was_there_before() {
    let before = schema();
    let mut after = changed_dump("    n integer DEFAULT 0\n", "    n bigint DEFAULT 0\n");
    after.entries.retain(|entry| entry.kind != "VIEW");
    let changes = after.changes_since(&before);
    assert_eq!(changes.written, [entry(&after, "TABLE", "orders_order").clone()]);
    assert_eq!(changes.removed, [entry(&before, "VIEW", "v").key()]);
    // What both have, and has another text in another database, does not count.
    let elsewhere = |schema: Schema| {
        let mut schema = schema;
        schema.entries.iter_mut().filter(|entry| entry.kind == "FUNCTION").for_each(|entry| entry.text.push('x'));
        schema
    };
    assert_eq!(elsewhere(after).changes_since(&elsewhere(before)), changes);
    assert!(schema().changes_since(&schema()).is_empty());
}

#[test]
fn what_is_ignored_goes_with_all_that_belongs_to_it() {
    let keys = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let rest = schema().ignoring(&patterns);
        schema().difference(&rest).only_left.iter().map(|entry| entry.key().to_string()).collect()
    };
    assert_eq!(keys(&["we;ird*.*"]), ["SCHEMA we;ird\"s", "TABLE we;ird\"s.a b; Type: TABLE; x"]);
    assert_eq!(
        keys(&["public.orders_*"]),
        [
            "ACL public.COLUMN orders_order.id",
            "ACL public.TABLE orders_order",
            "CONSTRAINT public.orders_order orders_order_pkey",
            "FK CONSTRAINT public.orders_order orders_order_user_id_fkey",
            "INDEX public.orders_order_n",
            "INVALID INDEX public.orders_order_n",
            "TABLE public.orders_order",
            "TRIGGER public.orders_order orders_touch",
        ]
    );
    assert_eq!(keys(&["accounts_user"]), ["COMMENT public.TABLE accounts_user", "TABLE public.accounts_user"]);
    assert!(keys(&["partman.*"]).is_empty());
}

#[test]
fn kinds_can_be_left_out() {
    let rest = schema().without_kinds(&["ACL", "DEFAULT ACL"]);
    assert_eq!(rest.entries().len(), schema().entries().len() - 5);
}

#[test]
fn a_record_says_whether_it_can_be_compared() {
    let record = FingerprintRecord::new("15.18", schema().fingerprint());
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<FingerprintRecord>(&json).unwrap(), record);
    assert!(record.is_comparable_with(&record));
    assert!(!record.is_comparable_with(&FingerprintRecord::new("15.19", schema().fingerprint())));
    let older = FingerprintRecord { algorithm: 0, ..record.clone() };
    assert!(!record.is_comparable_with(&older));
}
