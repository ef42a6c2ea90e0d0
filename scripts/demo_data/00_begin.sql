-- Session settings, the source of chance, and the foreign keys put aside until all rows are there.
--
-- Nothing here may differ between runs, server versions or machines: no random(), no now(), no pow() or sin() of the
-- C library. hashint8extended() is the hash of hash partitioning, which PostgreSQL must keep; sqrt() is exact.
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET max_parallel_workers_per_gather = 0;
SET synchronous_commit = off;
SET work_mem = '128MB';
SET maintenance_work_mem = '256MB';

-- The functions are plain SQL on purpose: PostgreSQL inlines them, so that a row costs one hash, not a call.

-- h(i, salt, n): for row i a whole number from 0 to n - 1; another salt gives another one.
SELECT format($$CREATE FUNCTION pg_temp.h(i bigint, salt int, n int) RETURNS int LANGUAGE sql IMMUTABLE
    RETURN ((hashint8extended(i, %s::bigint * 100000 + salt) & 2147483647) %% n)::int$$, :'seed') \gexec

-- one_of(list, i, salt): for row i one of the list.
CREATE FUNCTION pg_temp.one_of(list text[], i bigint, salt int) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN list[1 + pg_temp.h(i, salt, cardinality(list))];

-- u(i, salt): for row i a number from 0 to below 1.
SELECT format($$CREATE FUNCTION pg_temp.u(i bigint, salt int) RETURNS float8 LANGUAGE sql IMMUTABLE
    RETURN (hashint8extended(i, %s::bigint * 100000 + salt) & 4294967295)::float8 / 4294967296$$, :'seed')
\gexec

-- id(kind, i): for row i a uuid.
SELECT format($$CREATE FUNCTION pg_temp.id(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN md5(kind || ' %s ' || i::text)::uuid$$, :'seed') \gexec

-- The last day, from the seed; and the first, two years earlier.
SELECT date '2026-06-10' + (:'seed'::bigint % 18)::int AS last_day \gset

-- moment(f): when the fraction f (0 to 1) of all that happened had happened, between 10:00 and 22:00 in Kigali. The
-- fourth root makes the last day four times as busy as the average.
SELECT format($$CREATE FUNCTION pg_temp.second_of_opening(f float8) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN floor(sqrt(sqrt(f)) * 730 * 43199)::bigint$$) \gexec
SELECT format($$CREATE FUNCTION pg_temp.moment(f float8) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    RETURN timestamptz '%s 08:00+00' - interval '730 days' + interval '1 second'
        * (pg_temp.second_of_opening(f) / 43200 * 86400 + pg_temp.second_of_opening(f) %% 43200)$$, :'last_day')
\gexec

-- Checking each row against its parents while it is inserted takes longer than all the rest. So the foreign keys of
-- our tables are dropped here and added again at the end, with the same definition, and checked then. Everything is
-- one transaction: after an error they are as they were.
CREATE TEMP TABLE our_table ON COMMIT DROP AS
SELECT to_regclass(quote_ident(name)) AS id FROM unnest(string_to_array(:'tables', ' ')) AS name;

CREATE TEMP TABLE foreign_key ON COMMIT DROP AS
SELECT conrelid::regclass AS table_id, conname AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0 AND conrelid IN (SELECT id FROM our_table);

SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', table_id, name) FROM foreign_key \gexec
