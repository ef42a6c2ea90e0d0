CREATE TABLE column_type_under_generate_x (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
