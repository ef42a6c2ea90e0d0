-- NOT VALID: old rows are not read while the table is locked. 0004 validates it.
-- migrate:up
ALTER TABLE payments_payment ADD CONSTRAINT payments_payment_amount_check CHECK (amount > 0) NOT VALID;
ALTER TABLE payments_refund ADD CONSTRAINT payments_refund_amount_check CHECK (amount > 0) NOT VALID;

-- migrate:down
ALTER TABLE payments_refund DROP CONSTRAINT payments_refund_amount_check;
ALTER TABLE payments_payment DROP CONSTRAINT payments_payment_amount_check;
