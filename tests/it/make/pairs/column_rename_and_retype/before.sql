CREATE TABLE column_rename_and_retype_x (a int, b int);
