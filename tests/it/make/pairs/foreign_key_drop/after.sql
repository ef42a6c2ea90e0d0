CREATE TABLE foreign_key_drop_p (id int PRIMARY KEY);
CREATE TABLE foreign_key_drop_c (id int PRIMARY KEY, p int);
