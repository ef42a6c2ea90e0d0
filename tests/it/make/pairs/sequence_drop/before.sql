CREATE SEQUENCE sequence_drop_s;
CREATE TABLE sequence_drop_x (a int DEFAULT nextval('sequence_drop_s'));
