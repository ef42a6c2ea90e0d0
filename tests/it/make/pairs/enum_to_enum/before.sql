CREATE TYPE ete_1 AS ENUM ('a', 'b');
CREATE TYPE ete_2 AS ENUM ('a', 'b');
CREATE TABLE ete (id int PRIMARY KEY, s ete_1 NOT NULL DEFAULT 'a');
