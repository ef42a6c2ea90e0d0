CREATE TABLE column_drop_identity_x (a int, id bigint GENERATED ALWAYS AS IDENTITY (START WITH 5));
