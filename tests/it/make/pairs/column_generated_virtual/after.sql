-- only: 18
CREATE TABLE column_generated_virtual_x (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL);
