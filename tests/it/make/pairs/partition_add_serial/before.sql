CREATE TABLE partition_add_serial_x (day date NOT NULL, a integer) PARTITION BY RANGE (day);
CREATE TABLE partition_add_serial_x_1 PARTITION OF partition_add_serial_x FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
