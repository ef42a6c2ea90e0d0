CREATE TABLE column_null_to_identity_x (id bigint PRIMARY KEY, no integer);
