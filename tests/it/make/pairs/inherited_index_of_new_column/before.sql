CREATE TABLE inherited_index_of_new_column_p (id int);
CREATE TABLE inherited_index_of_new_column_c () INHERITS (inherited_index_of_new_column_p);
CREATE TABLE inherited_index_of_new_column_o (id int);
