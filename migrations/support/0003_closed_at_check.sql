-- migrate:up
ALTER TABLE support_ticket ADD CONSTRAINT support_ticket_closed_at_check
    CHECK ((status = 'closed') = (closed_at IS NOT NULL));

-- migrate:down
ALTER TABLE support_ticket DROP CONSTRAINT support_ticket_closed_at_check;
