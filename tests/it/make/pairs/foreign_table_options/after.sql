CREATE FOREIGN DATA WRAPPER fto_f;
CREATE SERVER fto_s FOREIGN DATA WRAPPER fto_f;
CREATE FOREIGN TABLE fto (id int) SERVER fto_s OPTIONS (table_name 'b', more 'it''s');
