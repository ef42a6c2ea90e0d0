CREATE TABLE column_identity_add_x (id bigint NOT NULL);
