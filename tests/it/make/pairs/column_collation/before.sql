CREATE TABLE column_collation_x (a text);
CREATE INDEX column_collation_i ON column_collation_x (a);
