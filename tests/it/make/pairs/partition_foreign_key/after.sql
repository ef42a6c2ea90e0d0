CREATE TABLE partition_foreign_key_p (id int PRIMARY KEY);
CREATE TABLE partition_foreign_key_e (id int NOT NULL, at date NOT NULL, CONSTRAINT partition_foreign_key_fk FOREIGN KEY (id) REFERENCES partition_foreign_key_p) PARTITION BY RANGE (at);
CREATE TABLE partition_foreign_key_e1 PARTITION OF partition_foreign_key_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
