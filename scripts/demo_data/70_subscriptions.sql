-- subscriptions: five plans; every eighth guest has or had one.
\echo subscriptions

INSERT INTO subscriptions_plan (id, name, slug, menu_id, price, period, meals_per_week, perks) VALUES
    (1, 'Office lunch', 'office-lunch', 2, 48000, '1 mon', 5, '{"free delivery"}'),
    (2, 'Lunch, three days', 'lunch-three-days', 2, 31500, '1 mon', 3, '{}'),
    (3, 'Dinner for two', 'dinner-for-two', 3, 99000, '1 mon', 6, '{"free delivery","a dessert on Sundays"}'),
    (4, 'Student', 'student', 2, 22000.50, '14 days', 5, '{}'),
    (5, 'Everything', 'everything', 4, 890000, '1 year', 21, '{"free delivery","the chef''s number"}');

INSERT INTO subscriptions_subscription (id, user_id, plan_id, status, started_on, ends_on, paused, created_at,
    delivery_weekdays, delivery_address_id)
SELECT
    i,
    i * 8,
    1 + floor(pg_temp.u(i, 131) * pg_temp.u(i, 132) * 5)::int,
    status::subscriptions_status,
    joined::date + 3,
    CASE WHEN status = 'ended' THEN joined::date + 33 + pg_temp.h(i, 133, 90) END,
    CASE WHEN status = 'paused' THEN daterange(date :'last_day' - pg_temp.h(i, 134, 20), date :'last_day' + 14) END,
    joined + interval '2 days',
    pg_temp.one_of(ARRAY['{1,2,3,4,5}', '{1,3,5}', '{2,4}', '{1,2,3,4,5,6,7}'], i, 135)::smallint[],
    i * 8
FROM generate_series(1, :users / 8) AS i
CROSS JOIN LATERAL (SELECT
    pg_temp.one_of(ARRAY['active', 'active', 'active', 'paused', 'ended', 'ended'], i, 136) AS status,
    pg_temp.moment(i * 8::float8 / :users) AS joined) AS subscription;
