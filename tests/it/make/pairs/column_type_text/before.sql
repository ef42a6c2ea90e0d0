CREATE TABLE column_type_text_x (a varchar(20) DEFAULT 'new', b int);
