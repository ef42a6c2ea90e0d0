CREATE SEQUENCE sequence_owned_s;
CREATE TABLE sequence_owned_x (a int);
