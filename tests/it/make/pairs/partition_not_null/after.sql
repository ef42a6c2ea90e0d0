CREATE TABLE partition_not_null_e (id int NOT NULL, at date NOT NULL, n int NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_not_null_e1 PARTITION OF partition_not_null_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
