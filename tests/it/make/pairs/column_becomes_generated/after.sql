-- irreversible: are gone
CREATE TABLE column_becomes_generated_x (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
