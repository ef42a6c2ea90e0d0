-- depends: delivery/0001_initial
-- NOT VALID: old rows are not read while the table is locked. 0009 validates it.
-- migrate:up
ALTER TABLE orders_order ADD COLUMN delivery_address_id bigint;

ALTER TABLE orders_order ADD CONSTRAINT orders_order_delivery_address_id_fk_delivery_address_id
    FOREIGN KEY (delivery_address_id) REFERENCES delivery_address (id) DEFERRABLE INITIALLY DEFERRED NOT VALID;

-- migrate:down
ALTER TABLE orders_order DROP CONSTRAINT orders_order_delivery_address_id_fk_delivery_address_id;

ALTER TABLE orders_order DROP COLUMN delivery_address_id;
