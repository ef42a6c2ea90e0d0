CREATE TABLE column_generated_expressio_x (a int, b int GENERATED ALWAYS AS (a * 3) STORED);
