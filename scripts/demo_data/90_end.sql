-- Foreign keys back and checked, sequences behind the last row, statistics.
\echo foreign keys, sequences, statistics

SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', table_id, name, definition)
FROM foreign_key ORDER BY table_id::text, name \gexec

-- setval() with what the column holds: the next row gets the number behind it.
SELECT format('SELECT setval(%L, max(%I)) FROM %s HAVING max(%2$I) IS NOT NULL',
    pg_get_serial_sequence(attrelid::regclass::text, attname), attname, attrelid::regclass)
FROM pg_attribute
WHERE attrelid IN (SELECT id FROM our_table) AND attidentity <> ''
ORDER BY attrelid::regclass::text \gexec

SELECT format('ANALYZE %s', string_agg(id::text, ', ' ORDER BY id::text)) FROM our_table \gexec
ANALYZE loyalty_points_by_month;
