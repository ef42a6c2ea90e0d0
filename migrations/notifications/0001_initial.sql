-- depends: accounts/0001_initial, orders/0001_initial
-- One partition a month, so that old ones go by DROP TABLE. What fits nowhere lands in the default partition.
-- migrate:up
CREATE TABLE notifications_notification (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    user_id bigint NOT NULL,
    order_id bigint,
    channel varchar(16) NOT NULL,
    subject varchar(200) NOT NULL,
    body text NOT NULL DEFAULT '',
    payload jsonb NOT NULL DEFAULT '{}',
    read_at timestamptz,
    CONSTRAINT notifications_notification_pkey PRIMARY KEY (id, created_at),
    CONSTRAINT notifications_notification_channel_check CHECK (channel IN ('email', 'sms', 'push')),
    CONSTRAINT notifications_notification_user_id_fk_accounts_user_id
        FOREIGN KEY (user_id) REFERENCES accounts_user (id) ON DELETE CASCADE,
    CONSTRAINT notifications_notification_order_id_fk_orders_order_id
        FOREIGN KEY (order_id) REFERENCES orders_order (id) ON DELETE CASCADE
) PARTITION BY RANGE (created_at);

CREATE INDEX notifications_notification_user_id ON notifications_notification (user_id);
CREATE INDEX notifications_notification_order_id ON notifications_notification (order_id);

CREATE TABLE notifications_notification_2026_01 PARTITION OF notifications_notification
    FOR VALUES FROM ('2026-01-01 00:00+02') TO ('2026-02-01 00:00+02');
CREATE TABLE notifications_notification_2026_02 PARTITION OF notifications_notification
    FOR VALUES FROM ('2026-02-01 00:00+02') TO ('2026-03-01 00:00+02');
CREATE TABLE notifications_notification_2026_03 PARTITION OF notifications_notification
    FOR VALUES FROM ('2026-03-01 00:00+02') TO ('2026-04-01 00:00+02');
CREATE TABLE notifications_notification_2026_04 PARTITION OF notifications_notification
    FOR VALUES FROM ('2026-04-01 00:00+02') TO ('2026-05-01 00:00+02');
CREATE TABLE notifications_notification_default PARTITION OF notifications_notification DEFAULT;

COMMENT ON TABLE notifications_notification IS 'What was sent to whom. Kept for half a year.';

-- migrate:down
DROP TABLE notifications_notification;
