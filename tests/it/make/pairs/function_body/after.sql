CREATE FUNCTION function_body_f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT a + 2 $$;
