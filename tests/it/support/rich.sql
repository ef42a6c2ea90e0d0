-- A database with one of each: what a dump and restore can get wrong. Read by the tests of snapshot and restore.
CREATE EXTENSION hstore;
CREATE SCHEMA "Kitchen Side";
CREATE TYPE mood AS ENUM ('calm', 'hungry', 'very "hungry"');
CREATE TYPE point3 AS (x int, y numeric, label text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);

CREATE TABLE types (
    id bigint GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3) PRIMARY KEY,
    n numeric, r real, d double precision, m money, b bytea, t text, v varchar(20), c char(5),
    j json, jb jsonb, x xml, a int[], aa text[][], h hstore, u uuid, bits bit varying(8), o boolean,
    ts timestamp, tz timestamptz, da date, ti time, tt timetz, iv interval,
    ip inet, cd cidr, mac macaddr, pt point, po polygon, ir int4range, mr int4multirange, tv tsvector,
    e mood, ea mood[], co point3, dom positive, oid_ref oid,
    doubled numeric GENERATED ALWAYS AS (n * 2) STORED
);
INSERT INTO types (n, r, d, b, t, v, c, j, jb, a, aa, h, ts, tz, da, iv, ip, pt, ir, e, ea, co, dom) VALUES
    ('NaN', 'NaN', '-Infinity', '\x00ff5c0a', E'tab\t newline\n return\r back\\slash \\. \\N end', 'x', 'y',
     '{"a" :  1, "a":2}', '{"b": [1, null, "\\."]}', '{1,NULL,3}', '{{a,b},{"c d",NULL}}', '"k"=>"v", "n"=>NULL',
     'infinity', '-infinity', 'infinity', '1 year -2 months 3 days -04:05:06.789', '::1/128', '(1,2)', '[1,5)', 'very "hungry"',
     '{calm,hungry}', ROW(1, 2.50, 'a,"b"'), 1),
    (123456789012345678901234567890.000000001, 1e-40, 0.1::double precision + 0.2, '', '', '\N', '', 'null', 'null', '{}', '{}', '',
     '0044-03-15 12:00:00 BC', '2026-03-29 02:30:00.123456+01', '4713-01-01 BC', '0', '10.0.0.0/8', '(Infinity,0)', 'empty', 'calm',
     '{}', NULL, 2147483647),
    (0.10, '-0', '-0', NULL, E'\\.', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
DO $$ BEGIN
    INSERT INTO types (x) VALUES ('<a b="c">&amp;</a>');
EXCEPTION WHEN feature_not_supported THEN NULL; -- a server built without libxml
END $$;
INSERT INTO types (u, bits, o, ti, tt, cd, mac, po, mr, tv, m) VALUES
    ('5b8f6a5e-0d1c-4c0a-9d6b-0d8f6a5e0d1c', B'1010', true, '24:00', '12:00+05:30', '192.168.0.0/16',
     '08:00:2b:01:02:03', '((0,0),(1,1),(1,0))', '{[1,3),[5,7)}', 'a:1A b:2', 1234.56);
INSERT INTO types (t) SELECT E'line\n' || repeat('ü\\', i) FROM generate_series(0, 500) i;

CREATE TABLE "Kitchen Side"."odd ""name"" table" ("Column One" int, "select" text, "tab	col" text);
INSERT INTO "Kitchen Side"."odd ""name"" table" VALUES (1, 'x', NULL), (NULL, '', 'z');
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 3);
CREATE TABLE duplicates (a int);
INSERT INTO duplicates VALUES (1), (1), (2), (NULL), (NULL);

CREATE TABLE by_mood (e mood NOT NULL, id int, PRIMARY KEY (e, id)) PARTITION BY HASH (e);
CREATE TABLE by_mood_0 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_mood_1 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_mood SELECT m, i FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 20) i;
CREATE TABLE by_year (y int, t text) PARTITION BY RANGE (y);
CREATE TABLE by_year_old PARTITION OF by_year FOR VALUES FROM (MINVALUE) TO (2000);
CREATE TABLE by_year_new PARTITION OF by_year DEFAULT;
INSERT INTO by_year SELECT 1980 + i, 'x' FROM generate_series(1, 60) i;

CREATE TABLE parent (a int, b text);
CREATE TABLE child (c date) INHERITS (parent);
ALTER TABLE parent ADD COLUMN late int DEFAULT 5;
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', '2026-01-01');

CREATE TABLE dropped (a int, gone text, z int);
INSERT INTO dropped VALUES (1, 'x', 2);
ALTER TABLE dropped DROP COLUMN gone;

CREATE SEQUENCE by_hand START 100 INCREMENT -5 MINVALUE -1000 MAXVALUE 1000;
SELECT nextval('by_hand'), nextval('by_hand');
CREATE SEQUENCE untouched;

CREATE TABLE secret (owner text, v int);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user) WITH CHECK (owner IN ('a'::varchar, 'b'));
INSERT INTO secret VALUES ('somebody', 1);

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
CREATE TABLE guarded (id int PRIMARY KEY, ref int REFERENCES guarded DEFERRABLE, status varchar(9) CHECK (status IN ('a', 'b')));
INSERT INTO guarded VALUES (1, 2, 'a'), (2, 1, 'b');
CREATE TRIGGER refuse BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE UNLOGGED TABLE fleeting (a int);
INSERT INTO fleeting VALUES (1);
CREATE INDEX types_t ON types USING hash (t);
CREATE INDEX guarded_open ON guarded (id) WHERE status IN ('a', 'b');
CREATE VIEW open_orders AS SELECT g.*, count(*) OVER () FROM guarded g GROUP BY g.id;
CREATE MATERIALIZED VIEW totals AS SELECT e, count(*) AS n FROM by_mood GROUP BY e;
CREATE UNIQUE INDEX totals_e ON totals (e);
CREATE MATERIALIZED VIEW later AS SELECT sum(n) FROM totals WITH NO DATA;
COMMENT ON TABLE types IS E'all\nof them';
SELECT lo_from_bytea(424242, '\x0001feff5c2e0a');
COMMENT ON LARGE OBJECT 424242 IS 'a picture';
