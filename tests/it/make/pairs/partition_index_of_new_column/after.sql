CREATE DOMAIN partition_index_of_new_column_d AS int CHECK (VALUE >= 1);
CREATE TABLE partition_index_of_new_column_o (id int PRIMARY KEY, d partition_index_of_new_column_d);
CREATE TABLE partition_index_of_new_column_e (id int NOT NULL, at date NOT NULL, n int, m partition_index_of_new_column_d DEFAULT 5, o int REFERENCES partition_index_of_new_column_o) PARTITION BY RANGE (at);
CREATE TABLE partition_index_of_new_column_e1 PARTITION OF partition_index_of_new_column_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE INDEX partition_index_of_new_column_ei ON partition_index_of_new_column_e (n);
CREATE INDEX partition_index_of_new_column_e1m ON partition_index_of_new_column_e1 (m);
