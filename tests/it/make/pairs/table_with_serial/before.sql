CREATE TABLE tws_there (i int);
