CREATE TABLE column_text_to_serial_x (id bigint PRIMARY KEY, no serial);
