-- The kitchen looks at the few orders that are not done, whatever the size of the table.
-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY orders_order_delivery_address_id ON orders_order (delivery_address_id);

CREATE INDEX CONCURRENTLY orders_order_open ON orders_order (created_at)
    WHERE stage <> 'done' AND status <> 'cancelled';

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY orders_order_open;

DROP INDEX CONCURRENTLY orders_order_delivery_address_id;
