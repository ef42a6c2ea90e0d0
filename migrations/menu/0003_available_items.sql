-- What a guest can order now, as the website shows it.
-- migrate:up
CREATE VIEW menu_available_items AS
SELECT item.id, category.name AS category, item.name, item.price, item.spiciness
FROM menu_menuitem AS item
JOIN menu_category AS category ON category.id = item.category_id
WHERE item.is_available;

-- migrate:down
DROP VIEW menu_available_items;
