-- migrate:up
ALTER TABLE subscriptions_subscription ADD CONSTRAINT subscriptions_subscription_ends_on_check
    CHECK (ends_on >= started_on AND (ends_on IS NOT NULL OR status <> 'ended'));

-- migrate:down
ALTER TABLE subscriptions_subscription DROP CONSTRAINT subscriptions_subscription_ends_on_check;
