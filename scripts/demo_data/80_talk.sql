-- notifications of the last half year (a few older ones lie in the default partition), reviews, support.
\echo notifications

INSERT INTO notifications_preference (id, user_id, channel, is_enabled, quiet_from, quiet_until)
SELECT
    row_number() OVER (ORDER BY i, channel),
    i,
    channel,
    pg_temp.h(i * 4 + length(channel), 141, 4) > 0,
    CASE WHEN pg_temp.h(i, 142, 3) = 0 THEN time '21:30' END,
    CASE WHEN pg_temp.h(i, 142, 3) = 0 THEN time '07:00' END
FROM generate_series(1, :users, 3) AS i
CROSS JOIN unnest(ARRAY['email', 'push', 'sms']) AS channel;

INSERT INTO notifications_notification (id, created_at, user_id, order_id, channel, subject, body, payload, read_at)
SELECT
    pg_temp.id('notification', id),
    created_at + interval '20 minutes',
    user_id,
    id,
    way,
    'Your order ' || id || CASE status WHEN 'cancelled' THEN ' is cancelled' ELSE ' is on its way' END,
    CASE status WHEN 'cancelled' THEN 'You will not be charged.' ELSE
        pg_temp.one_of(ARRAY['Jean Bosco', 'Eric', 'Claudine', 'Moïse', 'Alice'], id, 151)
        || ' is coming to you in about ' || 10 + pg_temp.h(id, 152, 50) || ' minutes. Uryoherwe!' END,
    jsonb_build_object('template', 'order-' || status, 'locale', pg_temp.one_of(ARRAY['rw', 'en', 'fr'], user_id, 153)),
    CASE WHEN pg_temp.h(id, 154, 5) > 0 THEN created_at + (1300 + pg_temp.h(id, 155, 80000)) * interval '1 second' END
FROM orders_order
CROSS JOIN LATERAL (SELECT pg_temp.one_of(ARRAY['push', 'push', 'sms', 'email'], id, 156) AS way) AS message
WHERE created_at >= timestamptz '2025-12-18' AND status <> 'new';

\echo reviews

INSERT INTO reviews_review (id, user_id, menuitem_id, rating, title, body, created_at, is_public, photos, helpful_votes)
SELECT
    row_number() OVER (ORDER BY order_id, line_id),
    user_id,
    menuitem_id,
    rating,
    CASE WHEN rating >= 4 THEN pg_temp.one_of(ARRAY[
        'Excellent', 'We come again', 'Byiza cyane', 'Délicieux'], line_id, 161)
        ELSE pg_temp.one_of(ARRAY['So so', 'Cold', 'Expected more', ''], line_id, 161) END,
    pg_temp.one_of(ARRAY[
        'The meat was tender and the sauce had the right heat.', 'It came within half an hour, still hot.',
        'We were eight, and everybody found something.', 'A bit too salty for me.', 'The portion could be larger.',
        'Best in Kigali, I have tried them all.'], line_id, 162) || ' '
        || pg_temp.one_of(ARRAY[
            'The staff was kind.', 'Parking is difficult.', 'Children loved it.', 'Ask for the green table.',
        'I would order it again.'], line_id, 163),
    created_at + interval '1 day' + pg_temp.h(line_id, 164, 500000) * interval '1 second',
    pg_temp.h(line_id, 165, 25) > 0,
    CASE WHEN pg_temp.h(line_id, 166, 9) = 0
        THEN ARRAY['reviews/' || md5('photo' || :'seed' || line_id) || '.jpg'] ELSE '{}' END,
    floor(pg_temp.u(line_id, 167) * pg_temp.u(line_id, 168) * 30)::int
FROM (
    SELECT DISTINCT ON (purchase.user_id, line.menuitem_id)
        purchase.user_id, line.menuitem_id, line.order_id, line.id AS line_id, purchase.created_at,
        (ARRAY[1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5])[1 + pg_temp.h(line.id, 169, 12)] AS rating
    FROM orders_orderitem AS line
    JOIN orders_order AS purchase ON purchase.id = line.order_id
    WHERE pg_temp.h(line.id, 170, 60) = 0 AND purchase.stage = 'done'
    ORDER BY purchase.user_id, line.menuitem_id, line.id
) AS opinion;

\echo support

INSERT INTO support_ticket (id, user_id, order_id, subject, status, priority, tags, created_at, closed_at, assignee_id)
SELECT
    id,
    user_id,
    order_id,
    subject,
    status,
    1 + pg_temp.h(id, 171, 5),
    pg_temp.one_of(ARRAY[
        '{}', '{delivery}', '{delivery,late}', '{payment}', '{food,quality}', '{lost}'], id, 172)::text[],
    opened,
    CASE WHEN status = 'closed' THEN opened + (3600 + pg_temp.h(id, 173, 400000)) * interval '1 second' END,
    CASE WHEN pg_temp.h(id, 174, 6) > 0 THEN 1 + pg_temp.h(id, 175, 20) END
FROM (
    SELECT
        row_number() OVER (ORDER BY id) AS id,
        user_id,
        id AS order_id,
        created_at + interval '1 hour' AS opened,
        pg_temp.one_of(ARRAY['Where is my order?', 'A dish was missing', 'I was charged twice', 'I lost an umbrella',
            'Catering for a wedding', 'The app does not open', 'Cold food'], id, 176) AS subject,
        CASE WHEN id < :orders * 0.98 THEN 'closed'
            ELSE pg_temp.one_of(ARRAY['open', 'waiting', 'closed'], id, 177) END AS status
    FROM orders_order
    WHERE pg_temp.h(id, 178, 40) = 0
) AS complaint;

INSERT INTO support_message (id, ticket_id, author_id, body, headers, attachment, sent_at)
SELECT
    row_number() OVER (ORDER BY ticket.id, n),
    ticket.id,
    CASE WHEN n % 2 = 1 THEN ticket.user_id ELSE ticket.assignee_id END,
    CASE WHEN n % 2 = 1
        THEN pg_temp.one_of(ARRAY[
            'Hello, I ordered two hours ago and nobody came.', 'One brochette is missing in the bag.',
            'My account shows the payment twice.', 'Please call me back.'], key, 181)
        ELSE pg_temp.one_of(ARRAY['Mwaramutse, we are sorry. The rider is on the way.', 'We have refunded half of it.',
            'Could you send us a photo?', 'It is solved now. Thank you for your patience.'], key, 181)
    END || E'\n\n' || ticket.subject || E'\nOrder ' || ticket.order_id,
    CASE WHEN n = 1 THEN format('{"Message-ID": "<%s@mail.example>",  "X-Spam": %s}', md5('mail' || :'seed' || key),
        pg_temp.h(key, 182, 9))::json END,
    -- A photo now and then: bytes that do not compress, up to 48 kB.
    CASE WHEN pg_temp.h(key, 183, 40) = 0 THEN (
        SELECT decode(string_agg(md5('photo' || :'seed' || key || ' ' || part), '' ORDER BY part), 'hex')
        FROM generate_series(1, 100 + pg_temp.h(key, 184, 2900)) AS part) END,
    ticket.created_at + n * interval '11 minutes'
FROM support_ticket AS ticket
CROSS JOIN LATERAL generate_series(1, 1 + pg_temp.h(ticket.id, 185, 5)) AS n
CROSS JOIN LATERAL (SELECT ticket.id * 8 + n AS key) AS message;
