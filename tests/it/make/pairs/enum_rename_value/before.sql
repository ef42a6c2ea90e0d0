CREATE TYPE enum_rename_value_status AS ENUM ('new', 'done');
CREATE TABLE enum_rename_value_o (id int PRIMARY KEY, status enum_rename_value_status NOT NULL DEFAULT 'new');
