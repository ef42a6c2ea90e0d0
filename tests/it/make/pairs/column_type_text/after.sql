CREATE TABLE column_type_text_x (a text DEFAULT 'new', b int);
