-- migrate:up transaction:false
CREATE UNIQUE INDEX CONCURRENTLY delivery_address_one_default ON delivery_address (user_id) WHERE is_default;

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY delivery_address_one_default;
