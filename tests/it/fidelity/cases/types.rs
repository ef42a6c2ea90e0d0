//! Values: built-in types at their edges, odd text, composed types.

use super::{Case, case, case_if};

/// Values of every kind.
pub const TYPES: &[Case] = &[
    case(
        "numbers",
        "CREATE TABLE t (s smallint, i int, b bigint, n numeric, np numeric(30, 10), nn numeric(5, -2), r real, d double precision);
         INSERT INTO t VALUES (-32768, -2147483648, -9223372036854775808, 'NaN', 0.0000000001, 12345, 'NaN', 'NaN'),
             (32767, 2147483647, 9223372036854775807, 'Infinity', 1, 0, 'Infinity', '-Infinity'),
             (0, 0, 0, '-Infinity', -1, -99900, '-0', '-0'),
             (1, 1, 1, 1.500000, 1.5, NULL, 1e-45, 5e-324), (1, 1, 1, 1e-1000, 2, NULL, 3.4028235e38, 1.7976931348623157e308),
             (1, 1, 1, ('1' || repeat('0', 5000) || '.' || repeat('7', 5000))::numeric, 3, NULL, 0.1, 0.1::float8 + 0.2);",
    ),
    case(
        "dates_and_times",
        "CREATE TABLE t (ts timestamp, tz timestamptz, d date, ti time, tt timetz, iv interval, ts0 timestamp(0), iv2 interval day to second(2));
         INSERT INTO t VALUES ('infinity', 'infinity', 'infinity', '00:00', '00:00+15:59', '0', '2000-01-01', '1 day'),
             ('-infinity', '-infinity', '-infinity', '24:00', '24:00-15:59', '-178000000 years', '2000-01-01', NULL),
             ('0044-03-15 12:00:00 BC', '0001-01-01 00:00:00+00 BC', '4713-01-01 BC', '23:59:59.999999', '12:00:00.000001+05:30',
              '1 year -2 months 3 days -04:05:06.789', '1999-12-31 23:59:59.6', '1.555 seconds'),
             ('294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '5874897-12-31', '1:2:3', '1:2:3+00:00:59', '178000000 years', NULL, NULL),
             ('4713-01-01 00:00:00 BC', '2026-03-29 01:30:00.123456 Europe/Brussels', '2000-02-29', NULL, NULL, '-1 mon +1 day -00:00:00.000001', NULL, NULL);",
    ),
    case(
        "bytes_and_bits",
        "CREATE TABLE t (b bytea, f bit(5), v bit varying, vl bit varying(70));
         INSERT INTO t VALUES ('', B'10101', B'', B'1'), ('\\x00', B'00000', B'0', ''), ('\\x5c2e0a0d09', B'11111', NULL, NULL),
             (decode(repeat('00ff5c27', 5000), 'hex'), NULL, repeat('10', 5000)::varbit, NULL);
         INSERT INTO t (b) SELECT set_byte('\\x00'::bytea, 0, i) FROM generate_series(0, 255) i;",
    ),
    case(
        "odd_text",
        "CREATE TABLE t (t text, v varchar(20), c char(5), n name, q \"char\");
         INSERT INTO t VALUES (E'tab\\there', E'new\\nline', 'x', 'name', 'a'), (E'back\\\\slash', E'\\\\N', '', '', ''),
             (E'\\\\.', E'\\\\.\\n', E'\\\\.', E'\\\\.', E'\\\\'), (E'\\r\\n', E'\\r', ' y', NULL, NULL), ('', NULL, NULL, NULL, NULL),
             (E'\\b\\f\\v\\x01\\x7f', '  padded  ', 'a  b', NULL, NULL), (E'\\u00e9\\u0301\\U0001F600\\u200b\\ufeff', 'ünï', 'ß', 'ï', NULL),
             (E'\\\\x41', E'\\\\101', E'\\\\n', NULL, NULL), ('NULL', 'null', 'nil', NULL, NULL), ('''\"$$;--', '/*', '*/', NULL, NULL),
             (E'\\\\', E'\\\\\\\\', E'a\\\\', NULL, NULL), (E'\\n', E'\\n\\n', E'\\t', NULL, NULL);",
    ),
    case_if(
        "xml",
        // A server without libxml has the type and refuses every value.
        "(SELECT count(*) FROM pg_config WHERE name = 'CONFIGURE' AND setting LIKE '%--with-libxml%') = 1",
        "CREATE TABLE t (x xml);
         INSERT INTO t VALUES ('<a b=\"c\">&amp;\n</a>'), ('plain'), ('<?xml version=\"1.0\"?><a/>'), ('<!DOCTYPE a><a/>'), (NULL);",
    ),
    case(
        "json_and_jsonb",
        "CREATE TABLE t (j json, b jsonb, p jsonpath);
         INSERT INTO t VALUES ('{\"a\" :  1, \"a\":2}', '{\"a\": 1, \"a\": 2}', '$.a[*] ? (@ > 1)'), ('null', 'null', 'lax $'),
             (E'\"\\\\u00e9\\\\n\"', E'\"\\\\\\\\.\\\\t\"', 'strict $.\"b c\"'), ('1e400', '1e400', NULL), (' [ ] ', '[[], {}]', NULL),
             (NULL, '1.000', NULL), (E'{\\n\\t\"x\":1}', '\"\"', NULL);",
    ),
    case(
        "ranges_and_multiranges",
        "CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans);
         CREATE TABLE t (i int4range, b int8range, n numrange, ts tsrange, tz tstzrange, d daterange, im int4multirange,
                         nm nummultirange, dm datemultirange, s span, sm spans);
         INSERT INTO t VALUES ('[1,5)', '(,)', '(1.5,2.5]', '[2000-01-01,infinity)', '[,2000-01-01)', '[2000-01-01,2000-01-01]', '{[1,3),[5,7)}',
                               '{}', '{(,2000-01-01)}', '[1.5,2]', '{[1,2],[3,4)}'),
             ('empty', 'empty', '[NaN,NaN]', 'empty', 'empty', 'empty', '{}', '{(,)}', NULL, 'empty', '{}');",
    ),
    case(
        "text_search",
        "CREATE TABLE t (v tsvector, q tsquery);
         INSERT INTO t VALUES ('a:1A b:2,3B ''c d'':4', 'a & (b | !c:*A) <2> d'), ('', ''), (E'''\\\\\\\\'':1', '''it''''s'''), (to_tsvector('english', 'The fat cats'), NULL);",
    ),
    case(
        "networks_and_uuid",
        "CREATE TABLE t (i inet, c cidr, m macaddr, m8 macaddr8, u uuid, l pg_lsn, x xid8, s pg_snapshot);
         INSERT INTO t VALUES ('10.1.2.3/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '5b8f6a5e-0d1c-4c0a-9d6b-0d8f6a5e0d1c', '16/B374D848', '42', '10:20:10,14,15'),
             ('::ffff:1.2.3.4', '::/0', NULL, NULL, NULL, '0/0', '18446744073709551615', '10:10:'), ('fe80::1/64', NULL, NULL, NULL, NULL, NULL, NULL, NULL);",
    ),
    case(
        "geometry",
        "CREATE TABLE t (p point, l line, s lseg, b box, pa path, po polygon, c circle);
         INSERT INTO t VALUES ('(1,2)', '{1,-1,0}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0,0),1>'),
             ('(Infinity,NaN)', '{0,1,1e-300}', '[(1e308,-0),(0,0)]', NULL, '((0,0),(1,1))', '((0.1,0.2))', '<(1e-10,5),0>');",
    ),
    case(
        "money_and_boolean",
        "CREATE TABLE t (m money, b boolean);
         INSERT INTO t VALUES (1234567.89, true), (-0.01, false), ('92233720368547758.07', NULL), ('-92233720368547758.08', NULL);",
    ),
    case(
        "object_identifiers",
        "CREATE TABLE t (o oid, x xid, ti tid, t regtype, r regrole, n regnamespace, ct regcollation, cf regconfig);
         INSERT INTO t VALUES (4294967295, '4294967295', '(4294967295,65535)', 'numeric', '{owner}', 'object_identifiers', '\"C\"', 'english'),
             (0, '0', '(0,0)', 'int4[]', NULL, NULL, NULL, NULL);",
    ),
    case(
        "arrays",
        "CREATE TABLE t (i int[], t text[][], d date[], n numeric[], b bytea[], j json[], a2 int[3][3], x box[]);
         INSERT INTO t VALUES ('{1,NULL,3}', '{{a,b},{\"c d\",NULL}}', '{infinity,2000-01-01}', '{NaN,-Infinity}', ARRAY['\\x5c'::bytea, ''], ARRAY['{\"a\": 1}'::json], '{{1}}', '{(1,1),(0,0);(2,2),(1,1)}'),
             ('{}', '{}', '{}', NULL, '{}', NULL, '{}', '{}'), ('[-2:0]={7,8,9}', '{{\"\",\"NULL\"}}', NULL, NULL, NULL, NULL, NULL, NULL),
             ('[2:2][3:4]={{1,2}}', E'{\"\\\\\\\\\",\"\\n\",\"\\t\",\"{}\",\",\"}', NULL, NULL, NULL, NULL, NULL, NULL);",
    ),
    case(
        "enums_domains_composites",
        "CREATE TYPE mood AS ENUM ('calm', 'very \"hungry\"', '', E'tab\\t', '{,}');
         ALTER TYPE mood ADD VALUE 'early' BEFORE 'calm';
         CREATE DOMAIN positive AS int NOT NULL DEFAULT 7 CONSTRAINT above_zero CHECK (VALUE > 0);
         CREATE DOMAIN few AS mood[] CHECK (cardinality(VALUE) < 4);
         CREATE DOMAIN nested AS positive CHECK (VALUE < 100);
         CREATE TYPE point3 AS (x int, \"Y y\" numeric, label text, m mood);
         CREATE TYPE pair AS (a point3, b point3[]);
         CREATE TABLE t (m mood, ma mood[], p positive, f few, n nested, c point3, ca point3[], pr pair, da positive[]);
         INSERT INTO t VALUES ('calm', enum_range(NULL::mood), 1, '{calm}', 99, ROW(1, 2.50, 'a,\"b\\\\', ''),
             ARRAY[ROW(1, NULL, '', 'calm'), NULL, ROW(NULL, 'NaN', NULL, NULL)]::point3[], ROW(ROW(1, 1, '(', '{,}'), ARRAY[ROW(2, 2, ')', NULL)]::point3[]), '{1,2}'),
             (E'tab\\t', '{}', 2, NULL, 5, NULL, '{}', ROW(NULL, NULL), '{}');",
    ),
    case(
        "domain_constraint_not_valid",
        "CREATE DOMAIN d AS text; CREATE TABLE t (d d); INSERT INTO t VALUES ('too long');
         ALTER DOMAIN d ADD CONSTRAINT short CHECK (length(VALUE) < 3) NOT VALID;",
    ),
    case(
        "type_of_ones_own",
        "CREATE TYPE shell;
         CREATE FUNCTION text_in(cstring) RETURNS shell LANGUAGE internal IMMUTABLE STRICT AS 'textin';
         CREATE FUNCTION text_out(shell) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
         CREATE TYPE shell (INPUT = text_in, OUTPUT = text_out, LIKE = text);
         CREATE TABLE t (s shell, a shell[]); INSERT INTO t VALUES (E'a\\tb', ARRAY['x', E'\\\\']::shell[]);
         CREATE TYPE only_a_shell;",
    ),
    case(
        "hstore_and_citext",
        "CREATE EXTENSION hstore SCHEMA hstore_and_citext; CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION ltree;
         CREATE TABLE t (h hstore, c citext UNIQUE, l ltree); INSERT INTO t VALUES ('\"k\"=>\"v\", \"n\"=>NULL, \"a b\"=>\"=>\"', 'MiXed', 'a.b.c'), ('', '', '');",
    ),
];
