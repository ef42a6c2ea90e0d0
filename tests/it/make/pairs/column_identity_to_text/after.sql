CREATE TABLE column_identity_to_text_x (id bigint PRIMARY KEY, no text);
