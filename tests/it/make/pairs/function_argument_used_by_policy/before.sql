CREATE FUNCTION fau(a int) RETURNS bool LANGUAGE sql SET search_path = '' AS 'select true';
CREATE TABLE fau_t (id int);
CREATE POLICY fau_p ON fau_t USING (fau(id));
