CREATE TABLE partition_index_of_dropped_column_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_index_of_dropped_column_e1 PARTITION OF partition_index_of_dropped_column_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE partition_index_of_dropped_column_o (id int);
