CREATE TABLE column_drop_identity_x (a int);
