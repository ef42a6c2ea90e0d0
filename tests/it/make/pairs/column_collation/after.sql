CREATE TABLE column_collation_x (a text COLLATE "C");
CREATE INDEX column_collation_i ON column_collation_x (a);
