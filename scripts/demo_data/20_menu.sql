-- menu: 30 things to eat and drink, each in six ways. The same for every size: the guests grow, not the menu.
\echo menu

INSERT INTO menu_category (id, name, slug, position)
SELECT position, name, replace(lower(name), ' ', '-'), position
FROM unnest(ARRAY['Starters', 'Soups', 'Stews', 'From the grill', 'Fish', 'Rice and ugali', 'Vegetables', 'Bread',
    'Desserts', 'Cold drinks', 'Hot drinks', 'Beer']) WITH ORDINALITY AS category (name, position);

INSERT INTO menu_menuitem (id, category_id, name, description, price, is_available, spiciness, allergens, nutrition,
    price_before_raise)
SELECT
    i,
    category,
    CASE WHEN way = '' THEN base ELSE base || ' ' || way END,
    pg_temp.one_of(ARRAY[
        'Cooked slowly since the morning.', 'As grandmother made it in Huye.', 'With what the market had today.',
        'Our guests have asked for it since 2011.', 'Fresh, every day.'], i, 21) || ' '
        || pg_temp.one_of(ARRAY[
            'The farmers of Musanze bring the vegetables.', 'Ask for a larger portion.', 'Served with a smile.',
        'Takes twenty minutes.', 'Good for sharing.', 'Nothing is fried twice.'], i, 22),
    round(old_price * 1.10),
    pg_temp.h(i, 23, 12) > 0,
    CASE WHEN way = 'with pili-pili' THEN 'extra_hot'
        ELSE pg_temp.one_of(ARRAY['none', 'none', 'none', 'mild', 'mild', 'hot'], i, 24) END::menu_spiciness,
    pg_temp.one_of(ARRAY['{}', '{}', '{}', '{peanuts}', '{gluten}', '{milk,gluten}', '{fish}', '{egg}'], i, 25)::text[],
    jsonb_build_object('kcal', 40 + 10 * pg_temp.h(i, 26, 90), 'protein_g', pg_temp.h(i, 27, 60), 'salt_g',
        pg_temp.h(i, 28, 40) / 10.0),
    old_price
FROM (
    SELECT
        i,
        (food.category)[base] AS category,
        (food.name)[base] AS base,
        CASE WHEN base <= 24
            THEN (ARRAY['', 'with pili-pili', 'in peanut sauce', 'with ginger', 'from the charcoal', 'for two'])
                [1 + (i - 1) / 30]
            ELSE (ARRAY['', 'large', 'with ginger', 'with honey', 'of the house', 'to take away'])[1 + (i - 1) / 30]
        END AS way,
        500 + 100 * pg_temp.h(i, 29, 85)::numeric AS old_price
    FROM (SELECT i, 1 + (i - 1) % 30 AS base FROM generate_series(1, 180) AS i) AS item,
        (SELECT
            ARRAY['Sambusa', 'Kachumbari', 'Salade d''avocat', 'Isupu y''imboga', 'Isupu y''inkoko', 'Isombe',
                'Agatogo', 'Inyama y''inka', 'Matoke', 'Brochette de chèvre', 'Brochette de bœuf', 'Akabenz', 'Inkoko',
                'Tilapia', 'Sambaza', 'Pilau', 'Ubugari', 'Umuceri', 'Ibishyimbo', 'Dodo', 'Ibihaza', 'Chapati',
                'Mandazi', 'Imineke', 'Jus de maracuja', 'Ikivuguto', 'Icyayi', 'Ikawa', 'Urwagwa', 'Ikigage'] AS name,
            ARRAY[1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 9, 10, 10, 11, 11, 12, 12]
                AS category
        ) AS food
) AS dish;

INSERT INTO menu_menu (id, name, slug, served_from, served_until, is_active) VALUES
    (1, 'Breakfast', 'breakfast', '07:00', '10:30', true),
    (2, 'Lunch', 'lunch', '11:00', '15:00', true),
    (3, 'Dinner', 'dinner', '17:00', '22:30', true),
    (4, 'Delivery', 'delivery', '10:00', '22:00', true),
    (5, 'Far delivery', 'far-delivery', '10:00', '20:00', true),
    (6, 'Umuganura 2025', 'umuganura-2025', '11:00', '22:00', false);

INSERT INTO menu_menu_items (id, menu_id, menuitem_id)
SELECT row_number() OVER (ORDER BY menu, item), menu, item
FROM generate_series(1, 6) AS menu, generate_series(1, 180) AS item
WHERE pg_temp.h(menu * 1000 + item, 31, 5) < (ARRAY[1, 3, 4, 3, 2, 1])[menu];

INSERT INTO menu_dietarytag (id, name, symbol) VALUES
    (1, 'vegetarian', 'V'), (2, 'vegan', 'VV'), (3, 'halal', 'H'), (4, 'without gluten', 'GF'),
    (5, 'without milk', 'DF'),
    (6, 'without nuts', 'NF'), (7, 'organic', 'O'), (8, 'for children', 'K');

INSERT INTO menu_menuitem_dietary_tags (id, menuitem_id, dietarytag_id)
SELECT row_number() OVER (ORDER BY item, tag), item, tag
FROM generate_series(1, 180) AS item, generate_series(1, 8) AS tag
WHERE pg_temp.h(item * 10 + tag, 32, 4) = 0;

INSERT INTO menu_portion (id, menuitem_id, name, grams, price, currency, price_before_raise)
SELECT
    row_number() OVER (ORDER BY menuitem_id, size.position, currency),
    menuitem_id,
    size.name,
    size.grams,
    round(old_price * 1.10, 2),
    currency,
    old_price
FROM menu_menuitem AS item (menuitem_id)
CROSS JOIN (VALUES (1, 'half', 180, 0.6), (2, 'whole', 320, 1.0), (3, 'family', 1200, 3.4))
    AS size (position, name, grams, factor)
CROSS JOIN (VALUES ('RWF', 1.0), ('USD', 1452.0)) AS money (currency, francs)
CROSS JOIN LATERAL (SELECT round(item.price_before_raise * size.factor / money.francs, 2) AS old_price) AS old;

-- What an order line needs of a dish, and what guests wish: looked up once for each order line.
CREATE TEMP TABLE dish ON COMMIT DROP AS
SELECT id, price_before_raise AS old_price, price AS new_price FROM menu_menuitem;

CREATE TEMP TABLE wish ON COMMIT DROP AS
SELECT
    i AS id,
    jsonb_build_object(
        'side', pg_temp.one_of(ARRAY['ibirayi bikaranze', 'umuceri', 'ubugari', 'igitoki', 'none'], i, 33),
        'sauce', pg_temp.one_of(ARRAY['tomato', 'peanut', 'green pepper', 'mustard'], i, 34),
        'spice', pg_temp.one_of(ARRAY['none', 'mild', 'hot', 'extra_hot'], i, 35),
        'extras', to_jsonb(pg_temp.one_of(ARRAY[
            '{}', '{avocado}', '{egg}', '{avocado,"fried onions"}', '{cheese,egg}'], i, 36)::text[]),
        'without', pg_temp.one_of(ARRAY['onions', 'salt', 'nothing', 'palm oil', 'nothing', 'garlic'], i, 42),
        'serve', pg_temp.one_of(ARRAY['with the others', 'first', 'last', 'when I call'], i, 43),
        'cutlery', pg_temp.h(i, 37, 2) = 0) AS options,
    CASE WHEN pg_temp.h(i, 38, 10) < 6 THEN '' ELSE
        pg_temp.one_of(ARRAY['Please without onions.', 'Not too much salt, please.', 'My daughter cannot eat peanuts.',
            'Well done, please.', 'The sauce in a cup of its own.', 'Same as last Friday.'], i, 39) || ' '
        || pg_temp.one_of(ARRAY['Murakoze!', 'Merci beaucoup.', 'Thank you.', 'Asante.', 'See you on Sunday.'], i, 40)
    END AS note
FROM generate_series(0, 4095) AS i;

ANALYZE dish, wish;
