CREATE TABLE partition_check_e (id int NOT NULL, at date NOT NULL, CONSTRAINT partition_check_c CHECK (id > 0)) PARTITION BY RANGE (at);
CREATE TABLE partition_check_e1 PARTITION OF partition_check_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
