CREATE FUNCTION grant_function_f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT a $$;
