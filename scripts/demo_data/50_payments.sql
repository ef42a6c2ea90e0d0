-- payments: method number u is the first of user u; one payment for each order that was paid, some failed before.
\echo payments

INSERT INTO payments_method (id, user_id, kind, label, provider_token, is_active, created_at)
SELECT
    i,
    user_id,
    kind,
    CASE kind WHEN 'card' THEN 'Visa, ends in ' || lpad(pg_temp.h(i, 101, 10000)::text, 4, '0')
        WHEN 'cash' THEN 'Cash' ELSE 'Mobile money, ends in ' || lpad(pg_temp.h(i, 102, 1000)::text, 3, '0') END,
    'tok_' || md5('token' || :'seed' || i),
    pg_temp.h(i, 103, 15) > 0,
    pg_temp.moment(user_id::float8 / :users)
FROM (
    SELECT
        i,
        CASE WHEN i <= :users THEN i ELSE 1 + (i - :users - 1) * 3 END AS user_id,
        pg_temp.one_of(ARRAY['momo', 'momo', 'momo', 'airtel_money', 'card', 'cash'], i, 104) AS kind
    FROM generate_series(1, :users + :users / 4) AS i
) AS method;

INSERT INTO payments_payment (id, reference, order_id, method_id, amount, currency, status, provider_response,
    client_ip, created_at, captured_at)
SELECT
    row_number() OVER (ORDER BY id, attempt),
    pg_temp.id('payment', id * 2 + attempt),
    id,
    CASE WHEN channel <> 'table' THEN user_id END,
    total,
    'RWF',
    CASE WHEN attempt = 0 THEN 'failed' WHEN pg_temp.h(id, 111, 60) = 0 THEN 'refunded' ELSE 'captured' END,
    CASE WHEN channel <> 'table' THEN jsonb_build_object(
        'provider', pg_temp.one_of(ARRAY['mtn', 'mtn', 'airtel', 'bk'], user_id, 112),
        'code', CASE WHEN attempt = 0 THEN 'INSUFFICIENT_FUNDS' ELSE 'OK' END,
        'transaction', 'T' || lpad((id * 7919 + attempt)::text, 12, '0'),
        'ms', 200 + pg_temp.h(id, 113, 4000)) END,
    CASE WHEN channel IN ('web', 'app') THEN '41.186.0.0'::inet + pg_temp.h(user_id, 114, 65536) END,
    created_at + (60 + attempt * 90) * interval '1 second',
    CASE WHEN attempt = 1 THEN created_at + (155 + pg_temp.h(id, 115, 30)) * interval '1 second' END
FROM orders_order
CROSS JOIN generate_series(0, 1) AS attempt
WHERE status = 'paid' AND (attempt = 1 OR pg_temp.h(id, 116, 20) = 0);

INSERT INTO payments_refund (id, payment_id, amount, reason, created_at)
SELECT
    row_number() OVER (ORDER BY id),
    id,
    CASE WHEN pg_temp.h(id, 117, 3) = 0 THEN amount ELSE greatest(round(amount / 2, 2), 1) END,
    pg_temp.one_of(ARRAY[
        'The rider came an hour late.', 'A dish was missing.', 'Paid twice.', 'It was cold.'], id, 118),
    created_at + pg_temp.h(id, 119, 200000) * interval '1 second'
FROM payments_payment WHERE status = 'refunded';
