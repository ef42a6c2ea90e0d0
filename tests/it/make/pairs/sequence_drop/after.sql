CREATE TABLE sequence_drop_x (a int);
