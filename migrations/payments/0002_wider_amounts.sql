-- A conference with 3,000 guests did not fit. More digits before the point: no row is rewritten.
-- migrate:up
ALTER TABLE payments_payment ALTER COLUMN amount TYPE numeric(12, 2);
ALTER TABLE payments_refund ALTER COLUMN amount TYPE numeric(12, 2);

-- migrate:down
ALTER TABLE payments_refund ALTER COLUMN amount TYPE numeric(10, 2);
ALTER TABLE payments_payment ALTER COLUMN amount TYPE numeric(10, 2);
