-- only: 18
CREATE TABLE column_not_null_named_x (a int CONSTRAINT column_not_null_named_nn NOT NULL);
