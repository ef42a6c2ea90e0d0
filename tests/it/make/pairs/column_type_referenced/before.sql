CREATE TABLE column_type_referenced_x (id int PRIMARY KEY);
CREATE TABLE column_type_referenced_y (x int REFERENCES column_type_referenced_x);
