-- When and from where somebody logged in last; empty for those who never did.
-- migrate:up
ALTER TABLE accounts_user ADD COLUMN last_login timestamptz;
ALTER TABLE accounts_user ADD COLUMN last_login_ip inet;

COMMENT ON TABLE accounts_user IS 'Guests and staff. Rows are never deleted, only made inactive.';
COMMENT ON COLUMN accounts_user.password IS 'Algorithm, salt and hash; never the password itself.';
COMMENT ON TABLE accounts_profile IS 'What a guest tells us of themselves.';

-- migrate:down
COMMENT ON TABLE accounts_profile IS NULL;
COMMENT ON COLUMN accounts_user.password IS NULL;
COMMENT ON TABLE accounts_user IS NULL;

ALTER TABLE accounts_user DROP COLUMN last_login_ip;
ALTER TABLE accounts_user DROP COLUMN last_login;
