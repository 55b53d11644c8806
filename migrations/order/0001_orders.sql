-- Orders: pending, then confirmed or cancelled, and never anything else.
CREATE TABLE orders (
    id         uuid PRIMARY KEY,
    -- The saga that made it: unique, so that no saga has two.
    saga_id    uuid NOT NULL UNIQUE,
    customer   text NOT NULL,
    status     text NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    -- Sum of the lines, in minor units.
    total      bigint NOT NULL CHECK (total > 0),
    -- The lines as they were ordered: sku, quantity, unit_price.
    lines      jsonb NOT NULL CHECK (jsonb_array_length(lines) > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Confirmed and cancelled are for good: a late command cannot turn one into the other.
CREATE FUNCTION refuse_a_way_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order % is %: that has no way out', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER orders_end_for_good BEFORE UPDATE ON orders
    FOR EACH ROW WHEN (OLD.status IN ('confirmed', 'cancelled')) EXECUTE FUNCTION refuse_a_way_out();
