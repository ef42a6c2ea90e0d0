CREATE TABLE vgn_there (i int);
CREATE TABLE vgn_t (id int PRIMARY KEY, a text, b int);
CREATE VIEW vgn_v AS SELECT id, a, max(b) FROM vgn_t GROUP BY id;
