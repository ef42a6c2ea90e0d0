-- A type instead of a check, so that reports can list the states. Another type rewrites the table.
-- migrate:up
CREATE TYPE subscriptions_status AS ENUM ('active', 'paused', 'ended');

ALTER TABLE subscriptions_subscription
    DROP CONSTRAINT subscriptions_subscription_status_check,
    ALTER COLUMN status DROP DEFAULT,
    ALTER COLUMN status TYPE subscriptions_status USING status::subscriptions_status,
    ALTER COLUMN status SET DEFAULT 'active';

-- migrate:down
ALTER TABLE subscriptions_subscription
    ALTER COLUMN status DROP DEFAULT,
    ALTER COLUMN status TYPE varchar(16) USING status::text,
    ALTER COLUMN status SET DEFAULT 'active',
    ADD CONSTRAINT subscriptions_subscription_status_check CHECK (status IN ('active', 'paused', 'ended'));

DROP TYPE subscriptions_status;
