CREATE DOMAIN partition_index_of_new_column_d AS int CHECK (VALUE >= 2);
CREATE TABLE partition_index_of_new_column_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_index_of_new_column_e1 PARTITION OF partition_index_of_new_column_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE partition_index_of_new_column_o (id int, d partition_index_of_new_column_d);
