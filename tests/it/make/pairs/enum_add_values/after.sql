-- irreversible: cannot take the value
CREATE TYPE enum_add_values_status AS ENUM ('new', 'cooking', 'late', 'done', 'lost');
CREATE TABLE enum_add_values_o (id int PRIMARY KEY, status enum_add_values_status NOT NULL DEFAULT 'new');
