-- The call centre finds an address by any word of it.
-- migrate:up
ALTER TABLE delivery_address ADD COLUMN search tsvector
    GENERATED ALWAYS AS (to_tsvector('simple', label || ' ' || street || ' ' || instructions)) STORED;

CREATE INDEX delivery_address_search ON delivery_address USING gin (search);

-- migrate:down
DROP INDEX delivery_address_search;

ALTER TABLE delivery_address DROP COLUMN search;
