-- orders: carts, order lines, orders. The lines come first, because an order's total is their sum.
\echo carts

INSERT INTO orders_cart (id, user_id, session_key, metadata, created_at, updated_at)
SELECT
    pg_temp.id('cart', i),
    CASE WHEN pg_temp.h(i, 71, 3) > 0 THEN 1 + floor(pg_temp.u(i, 72) * :users)::int END,
    md5('session' || :'seed' || i),
    jsonb_build_object('device', pg_temp.one_of(ARRAY['android', 'ios', 'web'], i, 73),
        'visits', 1 + pg_temp.h(i, 74, 20)),
    begun,
    begun + pg_temp.h(i, 75, 3000) * interval '1 second'
FROM generate_series(1, :users / 4) AS i
CROSS JOIN LATERAL (SELECT pg_temp.moment(0.8 + 0.2 * i * 4 / :users) AS begun) AS cart;

INSERT INTO orders_cartitem (id, cart_id, menuitem_id, quantity, options, added_at)
SELECT
    row_number() OVER (ORDER BY i, line),
    pg_temp.id('cart', i),
    1 + (pg_temp.h(i, 76, 180) + line * 7) % 180,
    1 + pg_temp.h(i * 8 + line, 77, 4),
    wish.options,
    pg_temp.moment(0.8 + 0.2 * i * 4 / :users) + line * interval '40 seconds'
FROM generate_series(1, :users / 4) AS i
CROSS JOIN LATERAL generate_series(1, 1 + pg_temp.h(i, 78, 5)) AS line
JOIN wish ON wish.id = pg_temp.h(i * 8 + line, 79, 4096);

\echo order lines

INSERT INTO orders_orderitem (id, order_id, menuitem_id, quantity, unit_price, options, note)
SELECT
    line.id,
    line.order_id,
    line.dish,
    CASE WHEN line.amount < 60 THEN 1 WHEN line.amount < 85 THEN 2 WHEN line.amount < 97 THEN 3
        ELSE line.amount - 92 END,
    CASE WHEN line.order_id < first_raised.order_id THEN dish.old_price ELSE dish.new_price END,
    wish.options,
    wish.note
FROM (
    SELECT
        row_number() OVER () AS id,
        i AS order_id,
        1 + floor(pg_temp.u(i * 16 + line, 81) * pg_temp.u(i * 16 + line, 82) * 180)::int AS dish,
        pg_temp.h(i * 16 + line, 83, 100) AS amount,
        pg_temp.h(i * 16 + line, 84, 4096) AS wish
    FROM generate_series(1, :orders) AS i
    CROSS JOIN LATERAL generate_series(1, 1 + pg_temp.h(i, 80, 9)) AS line
) AS line
JOIN dish ON dish.id = line.dish
JOIN wish ON wish.id = line.wish
CROSS JOIN (
    -- Prices rose on 1 April 2026.
    SELECT min(i) AS order_id FROM generate_series(1, :orders) AS i
    WHERE pg_temp.moment(i::float8 / :orders) >= '2026-03-31 22:00+00'
) AS first_raised;

\echo orders

INSERT INTO orders_order (id, user_id, status, created_at, updated_at, channel, stage, total, note, public_id,
    delivery_address_id)
SELECT
    i,
    user_id,
    status,
    ordered,
    ordered + (600 + pg_temp.h(i, 91, 4200)) * interval '1 second',
    channel,
    CASE WHEN status = 'cancelled' THEN 'waiting' WHEN i <= :orders - 40 THEN 'done'
        ELSE (ARRAY['waiting', 'cooking', 'on_the_way'])[1 + (:orders - i) / 14] END,
    total,
    CASE WHEN pg_temp.h(i, 92, 12) = 0
        THEN pg_temp.one_of(ARRAY['Happy birthday!', 'Please be quick, I have a meeting.', 'The bell does not work.',
            'Table at the window.'], i, 93) ELSE '' END,
    pg_temp.id('order', i),
    CASE WHEN channel IN ('web', 'app') THEN user_id END
FROM (
    SELECT
        lines.order_id AS i,
        lines.total,
        pg_temp.moment(lines.order_id::float8 / :orders) AS ordered,
        -- Those who joined early order most, and nobody orders before joining.
        1 + floor(pg_temp.u(lines.order_id, 94) * pg_temp.u(lines.order_id, 95)
            * :users * (lines.order_id::float8 / :orders))::bigint AS user_id,
        CASE WHEN lines.order_id > :orders - 12 THEN 'new' WHEN pg_temp.h(lines.order_id, 96, 33) = 0 THEN 'cancelled'
            ELSE 'paid' END AS status,
        pg_temp.one_of(ARRAY[
            'web', 'web', 'app', 'app', 'app', 'phone', 'table', 'table'], lines.order_id, 97) AS channel
    FROM (SELECT order_id, sum(quantity * unit_price) AS total FROM orders_orderitem GROUP BY order_id) AS lines
    ORDER BY lines.order_id
) AS purchase;

ANALYZE orders_order;
