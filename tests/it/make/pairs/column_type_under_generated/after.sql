CREATE TABLE column_type_under_generate_x (a bigint, b int GENERATED ALWAYS AS (a * 2) STORED);
