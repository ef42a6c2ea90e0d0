CREATE TABLE column_becomes_generated_x (a int, b int);
