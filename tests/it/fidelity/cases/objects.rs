//! Everything that is not a table: code, views, rights, and what is around.

use super::{Case, case, case_if};

/// Objects of every kind.
pub const OBJECTS: &[Case] = &[
    case(
        "views",
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b');
         CREATE VIEW by_key AS SELECT t.*, count(*) OVER () AS n FROM t GROUP BY id;
         CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
         CREATE VIEW guarded WITH (security_barrier, security_invoker) AS SELECT * FROM t WHERE a <> 'x' WITH LOCAL CHECK OPTION;
         CREATE VIEW with_default AS SELECT id, a FROM t; ALTER VIEW with_default ALTER a SET DEFAULT 'd'; CREATE VIEW on_view AS SELECT * FROM with_default NATURAL JOIN by_key;
         CREATE VIEW in_list AS SELECT * FROM t WHERE a IN ('a', 'b') AND b = ANY (ARRAY['x'::varchar, 'y']); COMMENT ON COLUMN by_key.n IS 'how many';
         CREATE FUNCTION uses_row(by_key) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    ),
    case(
        "materialized_views",
        "CREATE TABLE t (a int, b text); INSERT INTO t SELECT i % 5, i::text FROM generate_series(1, 50) i;
         CREATE MATERIALIZED VIEW m AS SELECT a, count(*) AS n FROM t GROUP BY a; CREATE UNIQUE INDEX ON m (a); CREATE MATERIALIZED VIEW of_m AS SELECT sum(n) FROM m;
         CREATE MATERIALIZED VIEW empty AS SELECT * FROM of_m WITH NO DATA; CREATE INDEX ON empty (sum); ALTER MATERIALIZED VIEW m CLUSTER ON m_a_idx;
         CREATE VIEW v AS SELECT * FROM m; CREATE MATERIALIZED VIEW of_v WITH (fillfactor = 50) AS SELECT * FROM v; COMMENT ON MATERIALIZED VIEW m IS 'm';",
    ),
    case(
        "rules",
        "CREATE TABLE t (a int); CREATE TABLE log (a int); INSERT INTO t VALUES (1);
         CREATE RULE also AS ON INSERT TO t WHERE NEW.a > 5 DO ALSO INSERT INTO log VALUES (NEW.a); CREATE RULE nothing AS ON DELETE TO t DO INSTEAD NOTHING;
         CREATE VIEW v AS SELECT * FROM t; CREATE RULE ins AS ON INSERT TO v DO INSTEAD INSERT INTO t VALUES (NEW.a) RETURNING a; ALTER TABLE t DISABLE RULE nothing; ALTER TABLE t ENABLE ALWAYS RULE also;",
    ),
    case(
        "triggers",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
         CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x');
         CREATE TRIGGER on_row BEFORE INSERT OR UPDATE OF b ON t FOR EACH ROW WHEN (NEW.a > 0) EXECUTE FUNCTION refuse('arg', E'it''s');
         CREATE TRIGGER disabled AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE t DISABLE TRIGGER disabled;
         CREATE TRIGGER always AFTER TRUNCATE ON t EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER always;
         CREATE TRIGGER replica AFTER INSERT ON t REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE REPLICA TRIGGER replica;
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
         CREATE VIEW v AS SELECT * FROM t; CREATE TRIGGER instead INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION refuse();
         CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TRIGGER on_root AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION refuse();
         ALTER TABLE p1 DISABLE TRIGGER on_root; COMMENT ON TRIGGER late ON t IS 'late';",
    ),
    case(
        "event_triggers",
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no ddl: %'', tg_tag; END';
         CREATE EVENT TRIGGER no_drops ON sql_drop WHEN TAG IN ('DROP SEQUENCE') EXECUTE FUNCTION watch();
         CREATE EVENT TRIGGER replica_only ON ddl_command_end WHEN TAG IN ('CREATE AGGREGATE') EXECUTE FUNCTION watch(); ALTER EVENT TRIGGER replica_only ENABLE REPLICA;
         CREATE EVENT TRIGGER off ON ddl_command_start EXECUTE FUNCTION watch(); ALTER EVENT TRIGGER off DISABLE;",
    ),
    case(
        "functions",
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1);
         CREATE FUNCTION in_sql(x int, VARIADIC y text[] DEFAULT '{a}', OUT z int) LANGUAGE sql STABLE STRICT SECURITY DEFINER COST 5 AS 'SELECT x';
         CREATE FUNCTION atomic(x int) RETURNS SETOF t BEGIN ATOMIC SELECT * FROM functions.t WHERE a = x; SELECT t.a FROM functions.t; END;
         CREATE FUNCTION table_of() RETURNS TABLE (a int, b text) LANGUAGE plpgsql ROWS 7 PARALLEL SAFE LEAKPROOF SET search_path = functions, \"$user\" SET work_mem = '1MB' AS $x$ BEGIN RETURN; END $x$;
         CREATE FUNCTION late_bound() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION body_is_odd() RETURNS text LANGUAGE plpgsql AS E'BEGIN\\n-- Name: x; Type: TABLE; Schema: public; Owner: y\\n RETURN ''$$\\\\''; END';
         CREATE PROCEDURE proc(INOUT x int) LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CREATE FUNCTION first_of(anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT $1[1]';
         CREATE FUNCTION twin(int) RETURNS int LANGUAGE sql RETURN 1; CREATE FUNCTION twin(text) RETURNS int LANGUAGE sql RETURN 2; COMMENT ON FUNCTION twin(text) IS 'of text';
         CREATE VIEW calls AS SELECT * FROM atomic(1); CREATE TABLE uses (a int CHECK (functions.twin(a) = 1), b int DEFAULT functions.twin('x')); INSERT INTO uses VALUES (1);",
    ),
    case(
        "aggregates_operators_casts",
        "CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 + $2; CREATE AGGREGATE total(int) (SFUNC = add, STYPE = int, INITCOND = '0', COMBINEFUNC = add, PARALLEL = safe);
         CREATE AGGREGATE middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
         CREATE TYPE pair AS (a int, b int); CREATE FUNCTION pair_cmp(pair, pair) RETURNS int LANGUAGE sql IMMUTABLE RETURN ($1).a - ($2).a;
         CREATE FUNCTION pair_lt(pair, pair) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN ($1).a < ($2).a; CREATE FUNCTION pair_eq(pair, pair) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN ($1).a = ($2).a;
         CREATE OPERATOR <| (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_lt, COMMUTATOR = |>, RESTRICT = scalarltsel); CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_eq, HASHES, MERGES);
         CREATE OPERATOR FAMILY fam USING btree; CREATE OPERATOR CLASS cls FOR TYPE pair USING btree FAMILY fam AS OPERATOR 1 <|, OPERATOR 3 ===, FUNCTION 1 pair_cmp(pair, pair);
         CREATE FUNCTION to_pair(int) RETURNS pair LANGUAGE sql IMMUTABLE RETURN ROW($1, 0)::pair; CREATE CAST (int AS pair) WITH FUNCTION to_pair(int) AS ASSIGNMENT;
         CREATE TABLE t (p pair); INSERT INTO t VALUES (ROW(1, 2)), (7); CREATE INDEX ON t (p cls); CREATE VIEW v AS SELECT p OPERATOR(aggregates_operators_casts.===) p AS same FROM t;
         CREATE FUNCTION handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'; CREATE LANGUAGE own HANDLER handler;
         CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION pg_catalog.numeric_support(internal)); CREATE ACCESS METHOD heap_again TYPE TABLE HANDLER heap_tableam_handler;
         CREATE TABLE other_method (a int) USING heap_again; INSERT INTO other_method VALUES (1);
         CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;",
    ),
    case(
        "collations",
        "CREATE COLLATION plain (LOCALE = 'C'); CREATE COLLATION copied FROM \"C\"; CREATE TABLE t (a text COLLATE plain, b text COLLATE \"C\"); INSERT INTO t VALUES ('b', 'B'), ('A', 'a');
         CREATE INDEX ON t (a COLLATE copied); CREATE DOMAIN d AS text COLLATE plain;",
    ),
    case_if(
        "collations_of_icu",
        "EXISTS (SELECT FROM pg_collation WHERE collname = 'en-x-icu')",
        "CREATE COLLATION numeric_order (PROVIDER = icu, LOCALE = 'en-u-kn-true'); CREATE COLLATION any_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
         CREATE TABLE t (a text COLLATE any_case UNIQUE, b text COLLATE numeric_order); INSERT INTO t VALUES ('Abc', 'a10'), ('x', 'a9'); CREATE INDEX ON t (b);
         CREATE TABLE p (a text COLLATE any_case) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('a') TO ('m'); INSERT INTO p VALUES ('B');",
    ),
    case(
        "text_search_objects",
        "CREATE TEXT SEARCH DICTIONARY stemmer (TEMPLATE = snowball, LANGUAGE = 'dutch', STOPWORDS = 'dutch'); CREATE TEXT SEARCH CONFIGURATION conf (COPY = simple);
         ALTER TEXT SEARCH CONFIGURATION conf ALTER MAPPING FOR asciiword, word WITH stemmer, simple; CREATE TEXT SEARCH PARSER parse (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
         CREATE TEXT SEARCH TEMPLATE templ (LEXIZE = dsimple_lexize); CREATE TABLE t (a text, v tsvector GENERATED ALWAYS AS (to_tsvector('text_search_objects.conf', a)) STORED);
         INSERT INTO t VALUES ('de huizen'); CREATE INDEX ON t USING gin (v);",
    ),
    case(
        "comments",
        "CREATE TABLE t (a int CONSTRAINT c CHECK (a > 0)); COMMENT ON SCHEMA comments IS E'it''s\\n\\\\a \"comment\"'; COMMENT ON TABLE t IS '-- Name: x; Type: TABLE; Schema: -; Owner: z';
         COMMENT ON COLUMN t.a IS 'ünï'; COMMENT ON CONSTRAINT c ON t IS 'c'; CREATE INDEX i ON t (a); COMMENT ON INDEX i IS E'tab\\t'; INSERT INTO t (a) VALUES (1); CREATE TYPE e AS ENUM ('x'); COMMENT ON TYPE e IS 'e';
         CREATE DOMAIN d AS int CONSTRAINT dc CHECK (VALUE > 0); COMMENT ON CONSTRAINT dc ON DOMAIN d IS 'dc'; CREATE SEQUENCE s; COMMENT ON SEQUENCE s IS 's'; COMMENT ON DATABASE {database} IS E'the ''database''\\n\\\\';",
    ),
    case(
        "row_level_security",
        "CREATE TABLE t (who text, v int); INSERT INTO t VALUES ('a', 1), ('b', 2); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
         CREATE POLICY own ON t AS RESTRICTIVE FOR UPDATE TO {reader} USING (who = current_user) WITH CHECK (who IN ('a'::varchar, 'b')); CREATE POLICY none ON t FOR DELETE USING (false);
         CREATE TABLE off (a int); INSERT INTO off VALUES (1); CREATE POLICY unused ON off USING (a > 5); ALTER TABLE t OWNER TO {owner}; COMMENT ON POLICY own ON t IS 'own';",
    ),
    case(
        "rights",
        "CREATE TABLE t (a int, b int, c int); INSERT INTO t VALUES (1, 2, 3); ALTER TABLE t OWNER TO {owner}; GRANT SELECT (a), UPDATE (b) ON t TO {reader}; GRANT INSERT ON t TO {reader} WITH GRANT OPTION; REVOKE TRUNCATE ON t FROM {owner};
         GRANT USAGE ON SCHEMA rights TO {reader}; GRANT ALL ON SCHEMA rights TO PUBLIC; CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1; REVOKE ALL ON FUNCTION f() FROM PUBLIC; GRANT EXECUTE ON FUNCTION f() TO {reader};
         CREATE TYPE e AS ENUM ('x'); REVOKE USAGE ON TYPE e FROM PUBLIC; CREATE SEQUENCE s OWNED BY NONE; GRANT USAGE ON SEQUENCE s TO {owner}; ALTER SEQUENCE s OWNER TO {owner}; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA rights GRANT SELECT ON TABLES TO {reader}; ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO {reader};
         GRANT USAGE ON LANGUAGE plpgsql TO {reader} WITH GRANT OPTION; ALTER SCHEMA rights OWNER TO {owner}; CREATE VIEW v AS SELECT * FROM t; ALTER VIEW v OWNER TO {reader}; GRANT SELECT ON pg_catalog.pg_authid TO {reader};
         SET ROLE {reader}; GRANT INSERT ON t TO PUBLIC; RESET ROLE; GRANT SET ON PARAMETER work_mem TO {reader}; REVOKE SET ON PARAMETER work_mem FROM {reader};",
    ),
    case(
        "large_objects",
        "SELECT lo_from_bytea(424242, '\\x0001feff5c2e0a'); SELECT lo_create(424243); SELECT lo_from_bytea(4294967295, convert_to(repeat('large', 100000), 'UTF8')); SELECT lo_put(424243, 5000, '\\x01');
         COMMENT ON LARGE OBJECT 424242 IS E'a ''picture''\\n'; ALTER LARGE OBJECT 424242 OWNER TO {owner}; GRANT SELECT, UPDATE ON LARGE OBJECT 424242 TO {reader}; GRANT SELECT ON LARGE OBJECT 424243 TO PUBLIC; REVOKE ALL ON LARGE OBJECT 424243 FROM CURRENT_USER;
         CREATE TABLE t (lo oid); INSERT INTO t SELECT oid FROM pg_largeobject_metadata;",
    ),
    case(
        "publications",
        "CREATE SCHEMA indexes_published; CREATE TABLE t (a int PRIMARY KEY, b text, c int); INSERT INTO t VALUES (1, 'x', 2); CREATE PUBLICATION part FOR TABLE t (a, b) WHERE (a > 0) WITH (publish = 'insert'); CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA indexes_published;
         ALTER PUBLICATION part OWNER TO {owner};",
    ),
    case(
        "publication_of_all_tables",
        "CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root); CREATE TABLE without_key (a int); INSERT INTO without_key VALUES (1);",
    ),
    case(
        "foreign_tables",
        "CREATE EXTENSION postgres_fdw SCHEMA public; CREATE EXTENSION file_fdw SCHEMA public; CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid', dbname 'x''y');
         CREATE USER MAPPING FOR {owner} SERVER away OPTIONS (user 'u', password 'it''s secret'); CREATE FOREIGN TABLE t (a int NOT NULL, b text OPTIONS (column_name 'B b')) SERVER away OPTIONS (table_name 'T');
         CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER nothing TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER dummy; CREATE FOREIGN TABLE of_nothing (a int DEFAULT 4) SERVER nothing; GRANT USAGE ON FOREIGN SERVER away TO {reader};
         CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE FOREIGN TABLE p_far PARTITION OF p FOR VALUES IN (1) SERVER nothing; CREATE TABLE p_near PARTITION OF p FOR VALUES IN (2); INSERT INTO p VALUES (2);",
    ),
    case(
        "extensions",
        "CREATE EXTENSION fuzzystrmatch SCHEMA extensions; CREATE EXTENSION cube CASCADE; CREATE EXTENSION earthdistance; CREATE EXTENSION unaccent SCHEMA extensions; CREATE EXTENSION lo SCHEMA extensions;
         COMMENT ON EXTENSION cube IS 'ours'; CREATE TABLE t (c cube, l extensions.lo); INSERT INTO t VALUES ('(1,2),(3,4)', NULL); CREATE INDEX ON t USING gist (c); GRANT EXECUTE ON FUNCTION soundex(text) TO {reader}; REVOKE EXECUTE ON FUNCTION soundex(text) FROM PUBLIC;",
    ),
    case(
        "database_settings",
        "ALTER DATABASE {database} SET work_mem = '7MB'; ALTER DATABASE {database} SET search_path = database_settings, \"$user\", \"odd, name\", public; ALTER DATABASE {database} SET \"our.setting\" = 'it''s\\x';
         ALTER ROLE {reader} IN DATABASE {database} SET statement_timeout = '5min'; ALTER DATABASE {database} SET DateStyle = 'SQL, DMY'; ALTER DATABASE {database} SET default_text_search_config = 'pg_catalog.dutch'; ALTER DATABASE {database} SET temp_tablespaces = '';
         GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {reader} WITH GRANT OPTION; REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC; GRANT CREATE ON DATABASE {database} TO {owner}; ALTER DATABASE {database} OWNER TO {owner}; REVOKE TEMPORARY ON DATABASE {database} FROM {owner};
         CREATE TABLE t (a date); INSERT INTO t VALUES ('2020-12-31');",
    ),
];
