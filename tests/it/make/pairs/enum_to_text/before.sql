CREATE TYPE enum_to_text_e AS ENUM ('new', 'done');
CREATE TABLE enum_to_text_o (s enum_to_text_e NOT NULL DEFAULT 'new');
