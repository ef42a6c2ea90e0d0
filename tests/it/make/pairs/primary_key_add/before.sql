CREATE TABLE primary_key_add_x (id int NOT NULL);
