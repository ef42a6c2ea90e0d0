-- loyalty: seven of ten guests collect points. The trigger of the entries keeps the balances.
\echo loyalty

INSERT INTO loyalty_account (user_id, tier, joined_at)
SELECT
    i,
    CASE WHEN i < :users / 50 THEN 'gold' WHEN i < :users / 8 THEN 'silver' ELSE 'bronze' END,
    pg_temp.moment(i::float8 / :users)
FROM generate_series(1, :users) AS i
WHERE i % 10 < 7;

INSERT INTO loyalty_pointsentry (id, account_id, order_id, points, reason, created_at)
OVERRIDING SYSTEM VALUE
SELECT
    row_number() OVER (ORDER BY id),
    user_id,
    id,
    CASE WHEN pg_temp.h(id, 121, 12) = 0 THEN -(1 + total::int / 400) ELSE 1 + total::int / 100 END,
    CASE WHEN pg_temp.h(id, 121, 12) = 0 THEN 'spent on an order' ELSE 'order' END,
    created_at + interval '5 minutes'
FROM orders_order
WHERE user_id % 10 < 7 AND status = 'paid';

REFRESH MATERIALIZED VIEW loyalty_points_by_month;
