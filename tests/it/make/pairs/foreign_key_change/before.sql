CREATE TABLE foreign_key_change_p (id int PRIMARY KEY);
CREATE TABLE foreign_key_change_c (id int PRIMARY KEY, p int REFERENCES foreign_key_change_p);
