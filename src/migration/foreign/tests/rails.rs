//! Rails: a dump with its versions, and Ruby beside it.

use super::*;

const STRUCTURE: &str = r#"\restrict aBc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;

CREATE FUNCTION public.f() RETURNS integer LANGUAGE sql AS $$ SELECT count(*)::int FROM public.dish; $$;

SET default_tablespace = '';

--
-- Name: ar_internal_metadata; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.ar_internal_metadata (
    key character varying NOT NULL
);
CREATE TABLE public.dish (
    id bigint NOT NULL,
    name text DEFAULT 'schema_migrations; '::text
);
CREATE TABLE public.schema_migrations (
    version character varying NOT NULL
);
ALTER TABLE ONLY public.ar_internal_metadata
    ADD CONSTRAINT ar_internal_metadata_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
CREATE UNIQUE INDEX unique_schema_migrations ON public.schema_migrations USING btree (version);
CREATE INDEX by_name ON public.dish USING btree (name);
\unrestrict aBc

SET search_path TO "$user", public;

INSERT INTO "schema_migrations" (version) VALUES
('20240201000000'),
('20240101000000');
"#;

#[test]
fn the_dump_is_one_migration_for_all_its_versions() {
    let found = read(
        ForeignTool::Rails,
        &[
            ("structure.sql", STRUCTURE),
            ("migrate/20240101000000_create_dish.rb", "class CreateDish"),
            ("migrate/20240301000000_add_price.shop.rb", "class AddPrice"),
            ("migrate/concern.rb", ""),
            ("seeds.rb", ""),
        ],
    );
    assert_eq!(keys(&found), ["20240201000000", "20240301000000"]);
    assert_eq!(found[0].covers, ["20240101000000", "20240201000000"]);
    assert_eq!(named(&found), ["20240201000000_structure", "20240301000000_add_price_shop"]);
    assert_eq!(found[1].not_carried, ["20240301000000_add_price.shop.rb: a Ruby migration"]);
    let ours = parsed(&found[0]);
    let up = statements(&ours.up);
    assert_eq!(up[0], "SET LOCAL check_function_bodies = false");
    let starts: Vec<&str> = up.iter().map(|one| &one[..20]).collect();
    assert_eq!(starts[1..], ["CREATE FUNCTION publ", "CREATE TABLE public.", "CREATE INDEX by_name"]);
    assert!(up[2].contains("'schema_migrations; '::text") && ours.down.is_none());
}

#[test]
fn old_dumps_and_late_files() {
    let old = "CREATE TABLE dish (id int);\nINSERT INTO schema_migrations (version) VALUES ('2');\nINSERT INTO schema_migrations (version) VALUES ('10');\n";
    let found = read(ForeignTool::Rails, &[("structure.sql", old), ("migrate/3_between.rb", "")]);
    assert_eq!((keys(&found), found[0].covers.len()), (vec!["10", "3"], 2));
    // 3 is not in the dump, and comes behind it all the same.
    assert_eq!(named(&found), ["0001_structure", "0002_between"]);
    assert_eq!(statements(&parsed(&found[0]).up), ["CREATE TABLE dish (id int)"]);
}

#[test]
fn a_directory_without_such_a_dump_is_refused() {
    let rails = |files: &[(&str, &str)]| error(ForeignTool::Rails, files);
    let ruby = rails(&[("schema.rb", ""), ("migrate/1_a.rb", "")]);
    assert_eq!(
        ruby,
        "DIR/schema.rb: Ruby, not SQL; set `config.active_record.schema_format = :sql` and dump the schema"
    );
    assert_eq!(rails(&[("seeds.rb", "")]), "cannot read DIR/structure.sql");
    let none = rails(&[("structure.sql", "CREATE TABLE dish (id int);")]);
    assert_eq!(none, "DIR/structure.sql: it names no version that it has (INSERT INTO schema_migrations)");
    let other = rails(&[(
        "structure.sql",
        "CREATE TABLE `dish` (id int);\nINSERT INTO schema_migrations (version) VALUES ('1');",
    )]);
    assert_eq!(other, "DIR/structure.sql:1: a name in backquotes, as MySQL has them");
    assert!(rails(&[("structure.sql", "SELECT 'x")]).starts_with("DIR/structure.sql:1: this string is never closed"));
}
