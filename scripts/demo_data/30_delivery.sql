-- delivery: zones of Kigali; address number u is the default address of user u, the others follow.
\echo delivery

INSERT INTO delivery_zone (id, name, district, menu_id, fee, boundary, is_open, estimated_minutes)
SELECT
    i,
    name,
    (ARRAY['Gasabo', 'Kicukiro', 'Nyarugenge'])[1 + i % 3],
    CASE WHEN i <= 10 THEN 4 WHEN i <= 14 THEN 5 END,
    500 + 250 * i,
    format('((%1$s,%2$s),(%3$s,%2$s),(%3$s,%4$s),(%1$s,%4$s))', 30.04 + i % 4 * 0.03, -1.98 + i / 4 * 0.02,
        30.07 + i % 4 * 0.03, -1.96 + i / 4 * 0.02)::polygon,
    i < 15,
    15 + 5 * i
FROM unnest(ARRAY['Kimihurura', 'Kacyiru', 'Remera', 'Kimironko', 'Nyarutarama', 'Gishushu', 'Kiyovu', 'Nyamirambo',
    'Kicukiro Centre', 'Gikondo', 'Kanombe', 'Kagugu', 'Gisozi', 'Kabuga', 'Bugesera'])
    WITH ORDINALITY AS zone (name, i);

INSERT INTO delivery_address (id, user_id, zone_id, label, street, instructions, location, is_default, created_at)
SELECT
    i,
    user_id,
    1 + floor(pg_temp.u(i, 51) * pg_temp.u(i, 52) * 15)::int,
    CASE WHEN i <= :users THEN 'Home' ELSE pg_temp.one_of(ARRAY['Work', 'Parents', 'Shop', ''], i, 53) END,
    pg_temp.one_of(ARRAY['KG', 'KN', 'KK'], i, 54) || ' ' || 1 + pg_temp.h(i, 55, 700) || ' '
        || pg_temp.one_of(ARRAY['St', 'Ave'], i, 56) || ', house ' || 1 + pg_temp.h(i, 57, 90),
    pg_temp.one_of(ARRAY[
        '', '', 'Blue gate.', 'Behind the pharmacy, second floor.', 'Call when you are at the petrol station.',
        'The dog is friendly.', 'Leave it with the guard.'], i, 58),
    point(30.04 + pg_temp.h(i, 59, 120000) / 1000000.0, -1.98 + pg_temp.h(i, 60, 80000) / 1000000.0),
    i <= :users,
    joined + pg_temp.h(i, 61, 100000) * interval '1 second'
FROM (
    SELECT i, CASE WHEN i <= :users THEN i ELSE 1 + floor(pg_temp.u(i, 62) * :users)::int END AS user_id
    FROM generate_series(1, :users + :users / 4) AS i
) AS address
JOIN LATERAL (SELECT pg_temp.moment(user_id::float8 / :users) AS joined) AS account ON true;
