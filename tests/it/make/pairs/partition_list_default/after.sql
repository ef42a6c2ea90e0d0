CREATE TABLE partition_list_default_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_list_default_e1 PARTITION OF partition_list_default_e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE partition_list_default_ed PARTITION OF partition_list_default_e DEFAULT;
CREATE TABLE partition_list_default_l (k text) PARTITION BY LIST (k);
CREATE TABLE partition_list_default_la PARTITION OF partition_list_default_l FOR VALUES IN ('a', 'b');
CREATE TABLE partition_list_default_h (k int) PARTITION BY HASH (k);
CREATE TABLE partition_list_default_h0 PARTITION OF partition_list_default_h FOR VALUES WITH (MODULUS 1, REMAINDER 0);
