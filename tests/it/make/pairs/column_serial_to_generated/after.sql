-- irreversible: the values that no had are gone
CREATE TABLE column_serial_to_generated_x (id integer PRIMARY KEY, no integer GENERATED ALWAYS AS (id + 1) STORED);
