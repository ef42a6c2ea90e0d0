CREATE FUNCTION function_result_f(a int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT a + 1::bigint $$;
