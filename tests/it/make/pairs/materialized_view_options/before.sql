CREATE TABLE mvo (id int PRIMARY KEY);
CREATE MATERIALIZED VIEW mvo_v WITH (autovacuum_enabled = false) AS SELECT * FROM mvo;
