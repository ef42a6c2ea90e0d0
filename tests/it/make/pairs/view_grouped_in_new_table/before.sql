CREATE TABLE vgn_there (i int);
