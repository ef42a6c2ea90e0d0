CREATE TABLE partition_index_of_dropped_column_e (id int NOT NULL, at date NOT NULL, n int, m int) PARTITION BY RANGE (at);
CREATE TABLE partition_index_of_dropped_column_e1 PARTITION OF partition_index_of_dropped_column_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE INDEX partition_index_of_dropped_column_ei ON partition_index_of_dropped_column_e (n);
CREATE INDEX partition_index_of_dropped_column_e1m ON partition_index_of_dropped_column_e1 (m);
CREATE TABLE partition_index_of_dropped_column_o (id int UNIQUE);
