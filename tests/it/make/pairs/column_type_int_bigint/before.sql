CREATE TABLE column_type_int_bigint_x (a int PRIMARY KEY, b int DEFAULT 0);
