CREATE TYPE enum_reorder_status AS ENUM ('done', 'new');
CREATE TABLE enum_reorder_o (id int PRIMARY KEY, status enum_reorder_status NOT NULL DEFAULT 'new');
