CREATE TABLE table_drop_a (id int PRIMARY KEY);
