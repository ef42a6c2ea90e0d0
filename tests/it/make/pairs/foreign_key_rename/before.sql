CREATE TABLE foreign_key_rename_p (id int PRIMARY KEY);
CREATE TABLE foreign_key_rename_c (p int, CONSTRAINT foreign_key_rename_k1 FOREIGN KEY (p) REFERENCES foreign_key_rename_p);
