CREATE TYPE function_reads_table_mood AS ENUM ('b', 'c');
CREATE TABLE function_reads_table_new (id bigint PRIMARY KEY, mood function_reads_table_mood);
CREATE TABLE function_reads_table_old (id bigint PRIMARY KEY, fresh integer, mood function_reads_table_mood);
CREATE FUNCTION function_reads_table_count() RETURNS bigint LANGUAGE sql SET search_path = public AS $$ SELECT count(fresh) FROM function_reads_table_old $$;
CREATE FUNCTION function_reads_table_also() RETURNS bigint LANGUAGE sql SET search_path = public AS $$ SELECT count(mood) FROM function_reads_table_new $$;
