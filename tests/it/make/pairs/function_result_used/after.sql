CREATE FUNCTION function_result_used_f(a int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT a + 1::bigint $$;
CREATE TABLE function_result_used_x (a int DEFAULT function_result_used_f(1), b int, CHECK (function_result_used_f(b) > 0), c int GENERATED ALWAYS AS (function_result_used_f(b)) STORED);
CREATE INDEX function_result_used_i ON function_result_used_x (function_result_used_f(b));
CREATE VIEW function_result_used_v AS SELECT function_result_used_f(b) AS r FROM function_result_used_x;
