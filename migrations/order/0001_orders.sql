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
