CREATE TABLE column_identity_change_x (id bigint GENERATED ALWAYS AS IDENTITY);
