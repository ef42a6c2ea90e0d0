-- Constant defaults only: no row is rewritten.
-- migrate:up
ALTER TABLE orders_order
    ADD COLUMN channel varchar(16) NOT NULL DEFAULT 'web',
    ADD COLUMN stage varchar(16) NOT NULL DEFAULT 'waiting',
    ADD COLUMN total numeric(12, 2) NOT NULL DEFAULT 0,
    ADD COLUMN note text NOT NULL DEFAULT '',
    ADD CONSTRAINT orders_order_channel_check CHECK (channel IN ('web', 'app', 'phone', 'table')),
    ADD CONSTRAINT orders_order_stage_check CHECK (stage IN ('waiting', 'cooking', 'on_the_way', 'done'));

ALTER TABLE orders_orderitem
    ADD COLUMN options jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN note text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE orders_orderitem
    DROP COLUMN note,
    DROP COLUMN options;

ALTER TABLE orders_order
    DROP CONSTRAINT orders_order_stage_check,
    DROP CONSTRAINT orders_order_channel_check,
    DROP COLUMN note,
    DROP COLUMN total,
    DROP COLUMN stage,
    DROP COLUMN channel;
