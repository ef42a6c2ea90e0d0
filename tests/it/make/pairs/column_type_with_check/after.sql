CREATE TABLE column_type_with_check_x (a int CHECK (a <> 0), b int);
