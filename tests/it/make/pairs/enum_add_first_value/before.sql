CREATE TYPE enum_add_first_value_status AS ENUM ('new', 'done');
CREATE TABLE enum_add_first_value_o (id int PRIMARY KEY, status enum_add_first_value_status NOT NULL DEFAULT 'new');
