-- breaking: app releases before 2.1 read delivery_address.fax
-- allow: drop-column nobody confirms an order by fax any more; the numbers were exported in March 2025
-- migrate:up
ALTER TABLE delivery_address DROP COLUMN fax;

-- The column comes back, the numbers do not.
-- migrate:down
ALTER TABLE delivery_address ADD COLUMN fax varchar(32) NOT NULL DEFAULT '';
