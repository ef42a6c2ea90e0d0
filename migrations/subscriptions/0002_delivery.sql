-- depends: delivery/0001_initial
-- migrate:up
ALTER TABLE subscriptions_subscription
    ADD COLUMN delivery_weekdays smallint[] NOT NULL DEFAULT '{1,3,5}',
    ADD COLUMN delivery_address_id bigint,
    ADD CONSTRAINT subscriptions_subscription_delivery_weekdays_check
        CHECK (delivery_weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]),
    ADD CONSTRAINT subscriptions_subscription_delivery_address_id_fk
        FOREIGN KEY (delivery_address_id) REFERENCES delivery_address (id)
        ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;

CREATE INDEX subscriptions_subscription_delivery_address_id ON subscriptions_subscription (delivery_address_id);

-- migrate:down
DROP INDEX subscriptions_subscription_delivery_address_id;

ALTER TABLE subscriptions_subscription
    DROP CONSTRAINT subscriptions_subscription_delivery_address_id_fk,
    DROP CONSTRAINT subscriptions_subscription_delivery_weekdays_check,
    DROP COLUMN delivery_address_id,
    DROP COLUMN delivery_weekdays;
