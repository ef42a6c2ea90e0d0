CREATE TABLE column_serial_to_identity_x (id serial PRIMARY KEY);
