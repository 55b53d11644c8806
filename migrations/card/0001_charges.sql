-- Charges that the provider has made, by the service's own books. Written when the provider's answer is known; until then the
-- inbox remembers what was asked.
CREATE TABLE charges (
    -- Idempotency key of the command: the provider knows the charge by it, too.
    key      text COLLATE "C" PRIMARY KEY,
    amount   bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- The provider's; unknown if the charge came to light by its refund.
    receipt  text,
    status   text NOT NULL CHECK (status IN ('charged', 'refunded'))
);

-- Refunded is for good: money goes back once.
CREATE FUNCTION refuse_a_way_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'charge % is %: that has no way out', OLD.key, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER charges_end_for_good BEFORE UPDATE ON charges
    FOR EACH ROW WHEN (OLD.status = 'refunded') EXECUTE FUNCTION refuse_a_way_out();
