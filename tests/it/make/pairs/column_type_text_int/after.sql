CREATE TABLE column_type_text_int_x (a int DEFAULT 1, b int);
