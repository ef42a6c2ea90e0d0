-- What guests see in links instead of a number that counts our orders. A default that differs from row to row rewrites
-- the whole table under ACCESS EXCLUSIVE; the restaurant was closed that night.
-- migrate:up
ALTER TABLE orders_order ADD COLUMN public_id uuid NOT NULL DEFAULT gen_random_uuid();

ALTER TABLE orders_order ADD CONSTRAINT orders_order_public_id_key UNIQUE (public_id);

-- migrate:down
ALTER TABLE orders_order DROP CONSTRAINT orders_order_public_id_key;

ALTER TABLE orders_order DROP COLUMN public_id;
