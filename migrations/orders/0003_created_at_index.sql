-- The kitchen's screen reads the newest orders. Built without blocking those who order meanwhile.
-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY orders_order_created_at ON orders_order (created_at DESC);

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY orders_order_created_at;
