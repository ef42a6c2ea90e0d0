CREATE TABLE inherited_column_a (id int, x text DEFAULT 'q');
CREATE TABLE inherited_column_b (y int) INHERITS (inherited_column_a);
