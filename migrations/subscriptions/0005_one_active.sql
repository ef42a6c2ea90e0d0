-- migrate:up transaction:false
CREATE UNIQUE INDEX CONCURRENTLY subscriptions_subscription_one_active
    ON subscriptions_subscription (user_id) WHERE status = 'active';

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY subscriptions_subscription_one_active;
