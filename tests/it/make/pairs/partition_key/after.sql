-- refused: partitioned
CREATE TABLE partition_key_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (id);
