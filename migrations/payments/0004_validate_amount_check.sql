-- migrate:up
ALTER TABLE payments_payment VALIDATE CONSTRAINT payments_payment_amount_check;
ALTER TABLE payments_refund VALIDATE CONSTRAINT payments_refund_amount_check;

-- A constraint cannot be made NOT VALID again, only anew.
-- migrate:down
ALTER TABLE payments_refund
    DROP CONSTRAINT payments_refund_amount_check,
    ADD CONSTRAINT payments_refund_amount_check CHECK (amount > 0) NOT VALID;
ALTER TABLE payments_payment
    DROP CONSTRAINT payments_payment_amount_check,
    ADD CONSTRAINT payments_payment_amount_check CHECK (amount > 0) NOT VALID;
