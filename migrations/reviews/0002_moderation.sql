-- Reviews so far were read before they were stored: they are public.
-- migrate:up
ALTER TABLE reviews_review
    ADD COLUMN is_public boolean NOT NULL DEFAULT true,
    ADD COLUMN photos text[] NOT NULL DEFAULT '{}',
    ADD COLUMN helpful_votes integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT reviews_review_photos_check CHECK (cardinality(photos) <= 6);

ALTER TABLE reviews_review ALTER COLUMN is_public SET DEFAULT false;

-- migrate:down
ALTER TABLE reviews_review
    DROP CONSTRAINT reviews_review_photos_check,
    DROP COLUMN helpful_votes,
    DROP COLUMN photos,
    DROP COLUMN is_public;
