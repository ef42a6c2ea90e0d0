CREATE TABLE column_type_with_index_x (a int, b int);
CREATE INDEX column_type_with_index_i ON column_type_with_index_x (a) WHERE a > 0;
