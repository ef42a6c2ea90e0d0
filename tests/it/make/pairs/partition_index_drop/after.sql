CREATE TABLE partition_index_drop_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_index_drop_e1 PARTITION OF partition_index_drop_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
