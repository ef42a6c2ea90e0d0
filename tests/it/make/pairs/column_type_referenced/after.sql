CREATE TABLE column_type_referenced_x (id bigint PRIMARY KEY);
CREATE TABLE column_type_referenced_y (x bigint REFERENCES column_type_referenced_x);
