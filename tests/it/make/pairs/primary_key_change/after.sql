CREATE TABLE primary_key_change_x (id int NOT NULL, k int PRIMARY KEY);
