CREATE TABLE foreign_key_self_c (id int PRIMARY KEY, p int);
