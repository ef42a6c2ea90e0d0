CREATE TABLE foreign_key_not_valid_p (id int PRIMARY KEY);
CREATE TABLE foreign_key_not_valid_c (id int PRIMARY KEY, p int);
ALTER TABLE foreign_key_not_valid_c ADD CONSTRAINT foreign_key_not_valid_fk FOREIGN KEY (p) REFERENCES foreign_key_not_valid_p NOT VALID;
