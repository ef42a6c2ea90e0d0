CREATE TABLE column_type_int_bigint_x (a bigint PRIMARY KEY, b bigint DEFAULT 0);
