CREATE TABLE foreign_key_not_valid_p (id int PRIMARY KEY);
CREATE TABLE foreign_key_not_valid_c (id int PRIMARY KEY, p int);
