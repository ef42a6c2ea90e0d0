-- Reads the table while others write to it.
-- migrate:up
ALTER TABLE orders_order VALIDATE CONSTRAINT orders_order_delivery_address_id_fk_delivery_address_id;

-- A constraint cannot be made NOT VALID again, only anew.
-- migrate:down
ALTER TABLE orders_order
    DROP CONSTRAINT orders_order_delivery_address_id_fk_delivery_address_id,
    ADD CONSTRAINT orders_order_delivery_address_id_fk_delivery_address_id
        FOREIGN KEY (delivery_address_id) REFERENCES delivery_address (id) DEFERRABLE INITIALLY DEFERRED NOT VALID;
