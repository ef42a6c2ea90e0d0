CREATE TABLE column_not_null_named_x (a int);
