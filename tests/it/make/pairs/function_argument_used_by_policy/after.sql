CREATE FUNCTION fau(a int, b int DEFAULT 1) RETURNS bool LANGUAGE sql SET search_path = '' AS 'select true';
CREATE TABLE fau_t (id int);
CREATE POLICY fau_p ON fau_t USING (fau(id));
