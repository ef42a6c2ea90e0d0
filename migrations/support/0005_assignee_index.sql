-- migrate:up transaction:false
ALTER TABLE support_ticket VALIDATE CONSTRAINT support_ticket_assignee_id_fk_accounts_user_id;

CREATE INDEX CONCURRENTLY support_ticket_assignee_id ON support_ticket (assignee_id) WHERE assignee_id IS NOT NULL;

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY support_ticket_assignee_id;

ALTER TABLE support_ticket
    DROP CONSTRAINT support_ticket_assignee_id_fk_accounts_user_id,
    ADD CONSTRAINT support_ticket_assignee_id_fk_accounts_user_id
        FOREIGN KEY (assignee_id) REFERENCES accounts_user (id)
        ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID;
