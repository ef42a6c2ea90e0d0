CREATE TYPE enum_remove_value_used_status AS ENUM ('new', 'done', 'odd');
CREATE TABLE enum_remove_value_used_o (id int PRIMARY KEY, status enum_remove_value_used_status NOT NULL DEFAULT 'new');
CREATE INDEX enum_remove_value_used_i ON enum_remove_value_used_o (id) WHERE status = 'done';
CREATE VIEW enum_remove_value_used_v AS SELECT id FROM enum_remove_value_used_o WHERE status = 'new';
ALTER TABLE enum_remove_value_used_o ADD CONSTRAINT enum_remove_value_used_c CHECK (status <> 'done' OR id > 0);
CREATE FUNCTION enum_remove_value_used_f(s enum_remove_value_used_status) RETURNS int LANGUAGE sql AS 'SELECT 1';
