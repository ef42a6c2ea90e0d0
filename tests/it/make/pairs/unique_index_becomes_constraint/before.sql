CREATE TABLE uib (id int PRIMARY KEY, u text, w text NOT NULL);
CREATE UNIQUE INDEX uib_u ON uib (u);
CREATE UNIQUE INDEX uib_w_index ON uib (w);
