CREATE TABLE table_create_a (id int PRIMARY KEY);
