CREATE TABLE function_of_new_table_a (id int);
