CREATE TABLE column_type_referenced_oth_x (id int PRIMARY KEY);
CREATE TABLE column_type_referenced_oth_y (x int REFERENCES column_type_referenced_oth_x);
