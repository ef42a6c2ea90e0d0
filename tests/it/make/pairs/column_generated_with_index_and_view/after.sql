CREATE TABLE column_generated_with_inde_x (a int, b int GENERATED ALWAYS AS (a * 3) STORED);
CREATE INDEX column_generated_with_inde_i ON column_generated_with_inde_x (b);
CREATE VIEW column_generated_with_inde_v AS SELECT b FROM column_generated_with_inde_x;
