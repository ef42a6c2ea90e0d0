CREATE TABLE column_serial_to_text_x (id bigint PRIMARY KEY, no text);
