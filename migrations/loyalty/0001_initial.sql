-- depends: accounts/0001_initial, orders/0001_initial
-- migrate:up
CREATE TABLE loyalty_account (
    user_id bigint PRIMARY KEY,
    tier varchar(16) NOT NULL DEFAULT 'bronze',
    balance integer NOT NULL DEFAULT 0,
    joined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT loyalty_account_tier_check CHECK (tier IN ('bronze', 'silver', 'gold')),
    CONSTRAINT loyalty_account_user_id_fk_accounts_user_id
        FOREIGN KEY (user_id) REFERENCES accounts_user (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE loyalty_pointsentry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    order_id bigint,
    points integer NOT NULL,
    reason varchar(40) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT loyalty_pointsentry_points_check CHECK (points <> 0),
    CONSTRAINT loyalty_pointsentry_account_id_fk_loyalty_account_user_id
        FOREIGN KEY (account_id) REFERENCES loyalty_account (user_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT loyalty_pointsentry_order_id_fk_orders_order_id
        FOREIGN KEY (order_id) REFERENCES orders_order (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED
);

CREATE INDEX loyalty_pointsentry_account_id ON loyalty_pointsentry (account_id);
CREATE INDEX loyalty_pointsentry_order_id ON loyalty_pointsentry (order_id);

COMMENT ON TABLE loyalty_account IS 'Points of a guest. The balance is the sum of the entries.';
COMMENT ON TABLE loyalty_pointsentry IS 'Points won and spent. Rows are added, never changed.';

-- migrate:down
DROP TABLE loyalty_pointsentry;
DROP TABLE loyalty_account;
