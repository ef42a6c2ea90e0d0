CREATE TABLE column_serial_to_generated_x (id integer PRIMARY KEY, no serial);
