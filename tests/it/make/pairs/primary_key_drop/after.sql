CREATE TABLE primary_key_drop_x (id int);
