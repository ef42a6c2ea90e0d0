-- Ten percent more, from 1 April 2026. The old prices stay beside the new ones, because no division brings them back.
-- A dish that came later has no old price, and the way back leaves it alone.
-- allow: update-without-where every price rises, and price_before_raise keeps the old one
-- allow: drop-column the way back puts price_before_raise back into price first
-- migrate:up
ALTER TABLE menu_menuitem ADD COLUMN price_before_raise numeric(10, 0);
ALTER TABLE menu_portion ADD COLUMN price_before_raise numeric(12, 2);

UPDATE menu_menuitem SET price_before_raise = price, price = round(price * 1.10);
UPDATE menu_portion SET price_before_raise = price, price = round(price * 1.10, 2);

-- migrate:down
UPDATE menu_menuitem SET price = price_before_raise WHERE price_before_raise IS NOT NULL;
UPDATE menu_portion SET price = price_before_raise WHERE price_before_raise IS NOT NULL;

ALTER TABLE menu_portion DROP COLUMN price_before_raise;
ALTER TABLE menu_menuitem DROP COLUMN price_before_raise;
