CREATE TABLE exclusion_drop_x (r int4range, EXCLUDE USING gist (r WITH &&));
