CREATE TABLE function_of_new_table_a (id int);
CREATE FUNCTION function_of_new_table_f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM function_of_new_table_b';
CREATE TABLE function_of_new_table_b (id int);
