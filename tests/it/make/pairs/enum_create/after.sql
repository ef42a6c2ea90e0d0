CREATE TYPE enum_create_status AS ENUM ('new', 'done');
CREATE TABLE enum_create_o (id int PRIMARY KEY, status enum_create_status NOT NULL DEFAULT 'new');
