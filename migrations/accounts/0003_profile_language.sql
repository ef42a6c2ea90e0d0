-- A constant default: PostgreSQL keeps it in the catalog and rewrites no row.
-- migrate:up
ALTER TABLE accounts_profile ADD COLUMN language varchar(8) NOT NULL DEFAULT 'rw';

-- migrate:down
ALTER TABLE accounts_profile DROP COLUMN language;
