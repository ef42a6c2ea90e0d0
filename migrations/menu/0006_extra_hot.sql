-- Only adds the value: PostgreSQL lets no statement use it before this is committed.
-- migrate:up
ALTER TYPE menu_spiciness ADD VALUE 'extra_hot' AFTER 'hot';

-- No value can be removed from a type, so the way back makes a new one. It stops when a dish is still extra hot.
-- migrate:down
DROP VIEW menu_available_items;

ALTER TYPE menu_spiciness RENAME TO menu_spiciness_before;

CREATE TYPE menu_spiciness AS ENUM ('none', 'mild', 'hot');

ALTER TABLE menu_menuitem
    ALTER COLUMN spiciness DROP DEFAULT,
    ALTER COLUMN spiciness TYPE menu_spiciness USING spiciness::text::menu_spiciness,
    ALTER COLUMN spiciness SET DEFAULT 'none';

DROP TYPE menu_spiciness_before;

CREATE VIEW menu_available_items AS
SELECT item.id, category.name AS category, item.name, item.price, item.spiciness
FROM menu_menuitem AS item
JOIN menu_category AS category ON category.id = item.category_id
WHERE item.is_available;
