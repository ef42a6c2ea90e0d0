-- migrate:up
ALTER TABLE support_ticket ADD COLUMN assignee_id bigint;

ALTER TABLE support_ticket ADD CONSTRAINT support_ticket_assignee_id_fk_accounts_user_id
    FOREIGN KEY (assignee_id) REFERENCES accounts_user (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID;

-- migrate:down
ALTER TABLE support_ticket DROP CONSTRAINT support_ticket_assignee_id_fk_accounts_user_id;

ALTER TABLE support_ticket DROP COLUMN assignee_id;
