CREATE TABLE table_drop_serial_x (id serial PRIMARY KEY, no bigserial);
