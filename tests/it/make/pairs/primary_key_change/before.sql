CREATE TABLE primary_key_change_x (id int PRIMARY KEY, k int NOT NULL);
