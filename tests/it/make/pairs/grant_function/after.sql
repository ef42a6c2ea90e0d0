CREATE FUNCTION grant_function_f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT a $$;
REVOKE ALL ON FUNCTION grant_function_f(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grant_function_f(int) TO make_reader;
