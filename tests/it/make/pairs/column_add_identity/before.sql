CREATE TABLE column_add_identity_x (a int);
