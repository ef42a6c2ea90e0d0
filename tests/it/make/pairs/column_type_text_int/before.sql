CREATE TABLE column_type_text_int_x (a text DEFAULT '1', b int);
