CREATE TABLE column_becomes_generated_with_check_item (id int, n int, note text, CONSTRAINT column_becomes_generated_with_check_positive CHECK (n > 0));
