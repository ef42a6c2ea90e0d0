-- irreversible: the values that n had are gone
CREATE TABLE column_becomes_generated_with_check_item (id int, n int GENERATED ALWAYS AS (id * 2) STORED, note text);
