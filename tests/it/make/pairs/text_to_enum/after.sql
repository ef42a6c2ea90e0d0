CREATE TYPE text_to_enum_e AS ENUM ('new', 'done');
CREATE TABLE text_to_enum_o (s text_to_enum_e NOT NULL DEFAULT 'new');
