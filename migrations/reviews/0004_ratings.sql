-- Grouped by the primary key alone: the name and the price follow from it.
-- migrate:up
CREATE VIEW reviews_item_rating AS
SELECT item.id, item.name, item.price, count(review.id) AS reviews, round(avg(review.rating), 2) AS rating
FROM menu_menuitem AS item
LEFT JOIN reviews_review AS review ON review.menuitem_id = item.id AND review.is_public
GROUP BY item.id;

-- migrate:down
DROP VIEW reviews_item_rating;
