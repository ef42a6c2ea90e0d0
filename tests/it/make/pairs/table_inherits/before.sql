CREATE TABLE table_inherits_a (id int, x text);
CREATE TABLE table_inherits_b (id int, x text, y int);
