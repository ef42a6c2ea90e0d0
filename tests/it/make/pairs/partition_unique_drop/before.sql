CREATE TABLE partition_unique_drop_e (id int NOT NULL, at date NOT NULL, CONSTRAINT partition_unique_drop_u UNIQUE (id, at)) PARTITION BY RANGE (at);
CREATE TABLE partition_unique_drop_e1 PARTITION OF partition_unique_drop_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
