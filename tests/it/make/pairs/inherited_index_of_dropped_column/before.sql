CREATE TABLE inherited_index_of_dropped_column_p (id int, n int);
CREATE TABLE inherited_index_of_dropped_column_c () INHERITS (inherited_index_of_dropped_column_p);
CREATE INDEX inherited_index_of_dropped_column_cn ON inherited_index_of_dropped_column_c (n);
CREATE TABLE inherited_index_of_dropped_column_o (id int UNIQUE);
