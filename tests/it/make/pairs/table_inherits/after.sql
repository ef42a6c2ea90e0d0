-- refused: inherit
CREATE TABLE table_inherits_a (id int, x text);
CREATE TABLE table_inherits_b (y int) INHERITS (table_inherits_a);
