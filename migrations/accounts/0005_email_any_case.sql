-- People type their address in any case when they log in. Built without blocking those who sign up meanwhile.
-- migrate:up transaction:false
CREATE UNIQUE INDEX CONCURRENTLY accounts_user_lower_email ON accounts_user (lower(email));

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY accounts_user_lower_email;
