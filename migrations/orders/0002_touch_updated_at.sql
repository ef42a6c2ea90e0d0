-- The function names its search_path, so that it works in sessions that have an empty one, as a restore does.
-- migrate:up
CREATE FUNCTION orders_touch_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;

CREATE TRIGGER orders_order_touch_updated_at
BEFORE UPDATE ON orders_order
FOR EACH ROW EXECUTE FUNCTION orders_touch_updated_at();

-- migrate:down
DROP TRIGGER orders_order_touch_updated_at ON orders_order;

DROP FUNCTION orders_touch_updated_at();
