-- The board on the wall. The app refreshes it every night.
-- migrate:up
CREATE MATERIALIZED VIEW loyalty_points_by_month AS
SELECT
    account_id,
    date_trunc('month', created_at, 'Africa/Kigali') AS month,
    sum(points) FILTER (WHERE points > 0) AS won,
    -sum(points) FILTER (WHERE points < 0) AS spent
FROM loyalty_pointsentry
GROUP BY account_id, month;

CREATE UNIQUE INDEX loyalty_points_by_month_key ON loyalty_points_by_month (account_id, month);

-- migrate:down
DROP MATERIALIZED VIEW loyalty_points_by_month;
