CREATE TABLE exclusion_add_x (r int4range);
