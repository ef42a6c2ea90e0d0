CREATE TABLE column_generated_virtual_x (a int);
