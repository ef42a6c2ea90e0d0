CREATE TABLE ikr (id int NOT NULL, k int NOT NULL, u text, CONSTRAINT ikr_pk PRIMARY KEY (id, k), CONSTRAINT ikr_un UNIQUE (u, k));
CREATE UNIQUE INDEX ikr_ux ON ikr (u, k);
COMMENT ON INDEX ikr_ux IS 'kept';
