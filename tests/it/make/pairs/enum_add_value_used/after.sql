-- irreversible: cannot take the value
CREATE TYPE enum_add_value_used_status AS ENUM ('new', 'done', 'late');
CREATE TABLE enum_add_value_used_o (id int PRIMARY KEY, status enum_add_value_used_status NOT NULL DEFAULT 'late');
