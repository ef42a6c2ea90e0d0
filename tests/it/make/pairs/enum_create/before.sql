CREATE TABLE enum_create_o (id int PRIMARY KEY);
