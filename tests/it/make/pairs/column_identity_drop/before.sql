CREATE TABLE column_identity_drop_x (id bigint NOT NULL GENERATED ALWAYS AS IDENTITY);
