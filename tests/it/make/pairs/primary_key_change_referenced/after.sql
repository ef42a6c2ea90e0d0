CREATE TABLE primary_key_change_referen_x (id int NOT NULL UNIQUE, k int PRIMARY KEY);
CREATE TABLE primary_key_change_referen_y (x int REFERENCES primary_key_change_referen_x (id));
