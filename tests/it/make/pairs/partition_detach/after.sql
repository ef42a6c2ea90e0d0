CREATE TABLE partition_detach_e (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE partition_detach_e1 (id int NOT NULL, at date NOT NULL);
