-- migrate:up
ALTER TABLE delivery_zone
    ADD COLUMN estimated_minutes smallint NOT NULL DEFAULT 40,
    ADD CONSTRAINT delivery_zone_estimated_minutes_check CHECK (estimated_minutes BETWEEN 5 AND 240);

-- migrate:down
ALTER TABLE delivery_zone
    DROP CONSTRAINT delivery_zone_estimated_minutes_check,
    DROP COLUMN estimated_minutes;
