CREATE TABLE tws_there (i int);
CREATE TABLE tws_new (id bigserial PRIMARY KEY, name text);
