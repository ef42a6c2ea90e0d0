CREATE SEQUENCE sequence_owned_s;
CREATE TABLE sequence_owned_x (a int);
ALTER SEQUENCE sequence_owned_s OWNED BY sequence_owned_x.a;
