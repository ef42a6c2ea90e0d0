-- The schema of loyalty as it shall be. Edit it, and `safe-migrate make loyalty` writes the migration.

CREATE FUNCTION public.loyalty_add_to_balance() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE loyalty_account AS account
    SET balance = account.balance + added.points
    FROM (SELECT account_id, sum(points) AS points FROM new_entries GROUP BY account_id) AS added
    WHERE account.user_id = added.account_id;
    RETURN NULL;
END;
$$;

CREATE TABLE public.loyalty_account (
    user_id bigint NOT NULL,
    tier character varying(16) DEFAULT 'bronze'::character varying NOT NULL,
    balance integer DEFAULT 0 NOT NULL,
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT loyalty_account_tier_check CHECK (((tier)::text = ANY ((ARRAY['bronze'::character varying, 'silver'::character varying, 'gold'::character varying])::text[])))
);

COMMENT ON TABLE public.loyalty_account IS 'Points of a guest. The balance is the sum of the entries.';

CREATE TABLE public.loyalty_pointsentry (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    order_id bigint,
    points integer NOT NULL,
    reason character varying(40) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT loyalty_pointsentry_points_check CHECK ((points <> 0))
);

COMMENT ON TABLE public.loyalty_pointsentry IS 'Points won and spent. Rows are added, never changed.';

CREATE MATERIALIZED VIEW public.loyalty_points_by_month AS
 SELECT loyalty_pointsentry.account_id,
    date_trunc('month'::text, loyalty_pointsentry.created_at, 'Africa/Kigali'::text) AS month,
    sum(loyalty_pointsentry.points) FILTER (WHERE (loyalty_pointsentry.points > 0)) AS won,
    (- sum(loyalty_pointsentry.points) FILTER (WHERE (loyalty_pointsentry.points < 0))) AS spent
   FROM public.loyalty_pointsentry
  GROUP BY loyalty_pointsentry.account_id, (date_trunc('month'::text, loyalty_pointsentry.created_at, 'Africa/Kigali'::text));

ALTER TABLE public.loyalty_pointsentry ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.loyalty_pointsentry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.loyalty_account
    ADD CONSTRAINT loyalty_account_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.loyalty_pointsentry
    ADD CONSTRAINT loyalty_pointsentry_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX loyalty_points_by_month_key ON public.loyalty_points_by_month USING btree (account_id, month);

CREATE INDEX loyalty_pointsentry_account_id ON public.loyalty_pointsentry USING btree (account_id);

CREATE INDEX loyalty_pointsentry_order_id ON public.loyalty_pointsentry USING btree (order_id);

CREATE TRIGGER loyalty_pointsentry_add_to_balance AFTER INSERT ON public.loyalty_pointsentry REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION public.loyalty_add_to_balance();

ALTER TABLE ONLY public.loyalty_account
    ADD CONSTRAINT loyalty_account_user_id_fk_accounts_user_id FOREIGN KEY (user_id) REFERENCES public.accounts_user(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.loyalty_pointsentry
    ADD CONSTRAINT loyalty_pointsentry_account_id_fk_loyalty_account_user_id FOREIGN KEY (account_id) REFERENCES public.loyalty_account(user_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.loyalty_pointsentry
    ADD CONSTRAINT loyalty_pointsentry_order_id_fk_orders_order_id FOREIGN KEY (order_id) REFERENCES public.orders_order(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
