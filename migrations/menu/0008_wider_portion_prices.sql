-- A whole goat for a wedding costs more than ten digits allow in some currencies. More digits before the point: no row
-- is rewritten.
-- migrate:up
ALTER TABLE menu_portion ALTER COLUMN price TYPE numeric(12, 2);

-- migrate:down
ALTER TABLE menu_portion ALTER COLUMN price TYPE numeric(10, 2);
