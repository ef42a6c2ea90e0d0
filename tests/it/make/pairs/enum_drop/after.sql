CREATE TABLE enum_drop_o (id int PRIMARY KEY);
