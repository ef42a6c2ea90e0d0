CREATE TABLE uib (id int PRIMARY KEY, u text, w text NOT NULL, CONSTRAINT uib_u UNIQUE (u), CONSTRAINT uib_w UNIQUE (w));
