-- What the moderators have to read: few rows, the oldest first.
-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY reviews_review_waiting ON reviews_review (created_at) WHERE NOT is_public;

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY reviews_review_waiting;
