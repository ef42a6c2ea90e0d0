-- accounts: users and profiles. The first twenty are staff.
\echo accounts

INSERT INTO accounts_user
    (id, email, password, first_name, last_name, is_active, is_staff, date_joined, last_login, last_login_ip)
SELECT
    i,
    lower(first_name || '.' || last_name) || i || '@'
        || pg_temp.one_of(ARRAY['example.com', 'example.org', 'example.net', 'mail.example'], i, 3),
    'pbkdf2_sha256$600000$' || left(md5('salt' || :'seed' || i), 22) || '$'
        || encode(decode(md5('hash' || :'seed' || i), 'hex'), 'base64'),
    first_name,
    last_name,
    i <= 20 OR pg_temp.h(i, 4, 50) > 0,
    i <= 20,
    joined,
    CASE WHEN pg_temp.h(i, 5, 10) > 0
        THEN joined + (timestamptz :'last_day' - joined) * (1 - pg_temp.u(i, 6) * pg_temp.u(i, 7)) END,
    CASE WHEN pg_temp.h(i, 5, 10) > 0
        THEN '41.186.0.0'::inet + pg_temp.h(i, 8, 65536) END
FROM (
    SELECT
        i,
        pg_temp.one_of(ARRAY[
            'Aline', 'Ange', 'Aimé', 'Alphonse', 'Belise', 'Bosco', 'Chantal', 'Claude', 'Clémentine', 'Diane',
            'Didier', 'Divine', 'Emmanuel', 'Eric', 'Esther', 'Fabrice', 'Faustin', 'Florence', 'Gaspard', 'Grace',
            'Honorine', 'Ignace', 'Immaculée', 'Innocent', 'Jeanne', 'Josiane', 'Kevin', 'Liliane', 'Marie', 'Nadine',
            'Odette', 'Olivier', 'Pacifique', 'Patrick', 'Solange', 'Théogène', 'Vestine', 'Viateur',
            'Yvette', 'Zawadi'], i, 1) AS first_name,
        pg_temp.one_of(ARRAY[
            'Mukamana', 'Uwase', 'Habimana', 'Niyonzima', 'Uwimana', 'Nsengimana', 'Mugisha', 'Ingabire', 'Bizimana',
            'Mukeshimana', 'Hakizimana', 'Umutoni', 'Ndayisaba', 'Iradukunda', 'Kayitesi', 'Gasana', 'Nkurunziza',
            'Mutesi', 'Rugamba', 'Murekatete', 'Twagirayezu', 'Kabera', 'Nyirahabimana', 'Karangwa', 'Umuhoza',
            'Sibomana', 'Munyaneza', 'Uwera', 'Rwigema', 'Tuyisenge'], i, 2) AS last_name,
        CASE WHEN i <= 20 THEN timestamptz '2024-01-08 06:00+00' ELSE pg_temp.moment(i::float8 / :users) END AS joined
    FROM generate_series(1, :users) AS i
) AS person;

INSERT INTO accounts_profile (id, user_id, phone, address, language, birthday, diets, preferences)
SELECT
    i,
    i,
    '+25078' || lpad(pg_temp.h(i, 11, 10000000)::text, 7, '0'),
    'KG ' || 1 + pg_temp.h(i, 12, 700) || ' St, Kigali',
    pg_temp.one_of(ARRAY['rw', 'rw', 'rw', 'en', 'fr', 'sw'], i, 13),
    CASE WHEN pg_temp.h(i, 14, 3) > 0 THEN date '1950-01-01' + pg_temp.h(i, 15, 20000) END,
    pg_temp.one_of(ARRAY[
        '{}', '{}', '{}', '{}', '{vegetarian}', '{vegan}', '{halal}', '{"no pork","no alcohol"}'], i, 16)::text[],
    jsonb_build_object(
        'newsletter', pg_temp.h(i, 17, 3) = 0,
        'theme', pg_temp.one_of(ARRAY['light', 'dark', 'system'], i, 18),
        'cutlery', pg_temp.h(i, 19, 5) > 0)
FROM generate_series(1, :users) AS i;
