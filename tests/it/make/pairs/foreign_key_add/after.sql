CREATE TABLE foreign_key_add_p (id int PRIMARY KEY);
CREATE TABLE foreign_key_add_c (id int PRIMARY KEY, p int REFERENCES foreign_key_add_p ON DELETE CASCADE);
