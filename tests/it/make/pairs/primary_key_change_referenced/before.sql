CREATE TABLE primary_key_change_referen_x (id int, k int NOT NULL, PRIMARY KEY (id));
CREATE TABLE primary_key_change_referen_y (x int REFERENCES primary_key_change_referen_x (id));
