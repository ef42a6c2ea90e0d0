-- How hot a dish is; PostgreSQL orders the values of an enum as they are listed.
-- migrate:up
CREATE TYPE menu_spiciness AS ENUM ('none', 'mild', 'hot');

ALTER TABLE menu_menuitem ADD COLUMN spiciness menu_spiciness NOT NULL DEFAULT 'none';

-- migrate:down
ALTER TABLE menu_menuitem DROP COLUMN spiciness;

DROP TYPE menu_spiciness;
