CREATE TABLE inherited_column_a (id int);
CREATE TABLE inherited_column_b (y int) INHERITS (inherited_column_a);
