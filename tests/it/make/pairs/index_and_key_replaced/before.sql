CREATE TABLE ikr (id int NOT NULL, k int NOT NULL, u text, CONSTRAINT ikr_pk PRIMARY KEY (id), CONSTRAINT ikr_un UNIQUE (u));
CREATE UNIQUE INDEX ikr_ux ON ikr (u);
COMMENT ON INDEX ikr_ux IS 'kept';
