CREATE TABLE ctt (id bigint PRIMARY KEY, a bigint DEFAULT 3, b bigint, c int);
CREATE INDEX ctt_a ON ctt (a);
