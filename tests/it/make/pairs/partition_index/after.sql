CREATE TABLE partition_index_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_index_e1 PARTITION OF partition_index_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE INDEX partition_index_ei ON partition_index_e (id);
