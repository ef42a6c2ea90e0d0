CREATE TYPE enum_drop_status AS ENUM ('new', 'done');
CREATE TABLE enum_drop_o (id int PRIMARY KEY, status enum_drop_status NOT NULL DEFAULT 'new');
