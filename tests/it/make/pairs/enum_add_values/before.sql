CREATE TYPE enum_add_values_status AS ENUM ('new', 'done');
CREATE TABLE enum_add_values_o (id int PRIMARY KEY, status enum_add_values_status NOT NULL DEFAULT 'new');
