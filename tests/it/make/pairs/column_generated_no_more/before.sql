CREATE TABLE column_generated_no_more_x (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
