CREATE TABLE partition_add_with_indexes_e (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at), CHECK (id > 0)) PARTITION BY RANGE (at);
CREATE TABLE partition_add_with_indexes_e1 PARTITION OF partition_add_with_indexes_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE INDEX partition_add_with_indexes_ei ON partition_add_with_indexes_e (id);
CREATE TABLE partition_add_with_indexes_e2 PARTITION OF partition_add_with_indexes_e FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
