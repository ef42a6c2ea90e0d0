CREATE TABLE enum_to_text_o (s text NOT NULL DEFAULT 'new');
