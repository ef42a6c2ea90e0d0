CREATE TYPE function_reads_table_mood AS ENUM ('a', 'b');
CREATE TABLE function_reads_table_old (id bigint PRIMARY KEY, gone integer, mood function_reads_table_mood);
CREATE FUNCTION function_reads_table_count() RETURNS bigint LANGUAGE sql SET search_path = public AS $$ SELECT count(gone) FROM function_reads_table_old $$;
