-- When a ticket was closed: for those of the past, the time of the last message. The function names its search_path, so
-- that it works in sessions that have an empty one, as a restore does.
-- migrate:up
ALTER TABLE support_ticket ADD COLUMN closed_at timestamptz;

UPDATE support_ticket AS ticket
SET closed_at = coalesce(
    (SELECT max(message.sent_at) FROM support_message AS message WHERE message.ticket_id = ticket.id),
    ticket.created_at
)
WHERE ticket.status = 'closed';

CREATE FUNCTION support_set_closed_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.status <> 'closed' THEN
        NEW.closed_at := NULL;
    ELSIF NEW.closed_at IS NULL THEN
        NEW.closed_at := now();
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER support_ticket_set_closed_at
BEFORE INSERT OR UPDATE OF status ON support_ticket
FOR EACH ROW EXECUTE FUNCTION support_set_closed_at();

-- migrate:down
DROP TRIGGER support_ticket_set_closed_at ON support_ticket;

DROP FUNCTION support_set_closed_at();

ALTER TABLE support_ticket DROP COLUMN closed_at;
