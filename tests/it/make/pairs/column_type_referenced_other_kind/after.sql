CREATE TABLE column_type_referenced_oth_x (id text PRIMARY KEY);
CREATE TABLE column_type_referenced_oth_y (x text REFERENCES column_type_referenced_oth_x);
