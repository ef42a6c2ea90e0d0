CREATE TABLE column_type_with_check_x (a text CHECK (a <> ''), b int);
