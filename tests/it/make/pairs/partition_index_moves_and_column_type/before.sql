CREATE TABLE partition_index_moves_and_column_type_e (id int NOT NULL, at date NOT NULL, n int) PARTITION BY RANGE (at);
CREATE TABLE partition_index_moves_and_column_type_e1 PARTITION OF partition_index_moves_and_column_type_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE INDEX partition_index_moves_and_column_type_i0 ON partition_index_moves_and_column_type_e (n);
CREATE INDEX partition_index_moves_and_column_type_i1 ON partition_index_moves_and_column_type_e (n DESC);
