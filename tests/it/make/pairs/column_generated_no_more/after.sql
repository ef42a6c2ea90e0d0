-- irreversible: cannot be generated
CREATE TABLE column_generated_no_more_x (a int, b int);
