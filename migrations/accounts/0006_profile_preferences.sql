-- What the kitchen and the newsletter should know. The default is a constant: no row is rewritten.
-- migrate:up
ALTER TABLE accounts_profile
    ADD COLUMN birthday date,
    ADD COLUMN diets text[] NOT NULL DEFAULT '{}',
    ADD COLUMN preferences jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT accounts_profile_preferences_check CHECK (jsonb_typeof(preferences) = 'object');

-- migrate:down
ALTER TABLE accounts_profile
    DROP CONSTRAINT accounts_profile_preferences_check,
    DROP COLUMN preferences,
    DROP COLUMN diets,
    DROP COLUMN birthday;
