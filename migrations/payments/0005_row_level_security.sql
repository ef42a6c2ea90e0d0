-- The self-service reports connect as roles that own nothing and say for whom: SET dusangire.user_id = '42'. Without
-- it they see no row. Row-level security is not forced: the tables' owner, who runs the app and the backup, sees all.
-- migrate:up
ALTER TABLE payments_method ENABLE ROW LEVEL SECURITY;
ALTER TABLE payments_payment ENABLE ROW LEVEL SECURITY;
ALTER TABLE payments_refund ENABLE ROW LEVEL SECURITY;

CREATE POLICY payments_method_own ON payments_method
USING (user_id = nullif(current_setting('dusangire.user_id', true), '')::bigint);

CREATE POLICY payments_payment_own ON payments_payment FOR SELECT
USING (order_id IN (
    SELECT id FROM orders_order WHERE user_id = nullif(current_setting('dusangire.user_id', true), '')::bigint
));

CREATE POLICY payments_refund_own ON payments_refund FOR SELECT
USING (EXISTS (SELECT FROM payments_payment AS payment WHERE payment.id = payments_refund.payment_id));

-- migrate:down
DROP POLICY payments_refund_own ON payments_refund;
DROP POLICY payments_payment_own ON payments_payment;
DROP POLICY payments_method_own ON payments_method;

ALTER TABLE payments_refund DISABLE ROW LEVEL SECURITY;
ALTER TABLE payments_payment DISABLE ROW LEVEL SECURITY;
ALTER TABLE payments_method DISABLE ROW LEVEL SECURITY;
