CREATE TYPE enum_remove_value_status AS ENUM ('new', 'done');
CREATE TABLE enum_remove_value_o (id int PRIMARY KEY, status enum_remove_value_status NOT NULL DEFAULT 'new');
