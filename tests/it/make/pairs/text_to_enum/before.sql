CREATE TABLE text_to_enum_o (s text NOT NULL DEFAULT 'new' CHECK (s IN ('new', 'done')));
