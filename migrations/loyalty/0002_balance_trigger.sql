-- The app forgot the balance now and then; from here on the database keeps it. Balances so far are right: a job of the
-- app had just put them in order.
-- migrate:up
CREATE FUNCTION loyalty_add_to_balance() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE loyalty_account AS account
    SET balance = account.balance + added.points
    FROM (SELECT account_id, sum(points) AS points FROM new_entries GROUP BY account_id) AS added
    WHERE account.user_id = added.account_id;
    RETURN NULL;
END;
$$;

CREATE TRIGGER loyalty_pointsentry_add_to_balance
AFTER INSERT ON loyalty_pointsentry
REFERENCING NEW TABLE AS new_entries
FOR EACH STATEMENT EXECUTE FUNCTION loyalty_add_to_balance();

-- migrate:down
DROP TRIGGER loyalty_pointsentry_add_to_balance ON loyalty_pointsentry;

DROP FUNCTION loyalty_add_to_balance();
