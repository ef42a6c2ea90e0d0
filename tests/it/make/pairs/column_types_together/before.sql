CREATE TABLE ctt (id int PRIMARY KEY, a int DEFAULT 3, b int, c text);
CREATE INDEX ctt_a ON ctt (a);
