-- Stock: what came in is either available or reserved.
CREATE TABLE stock (
    sku       text PRIMARY KEY,
    -- How many ever came in.
    supplied  bigint NOT NULL CHECK (supplied >= 0),
    available bigint NOT NULL CHECK (available >= 0),
    reserved  bigint NOT NULL CHECK (reserved >= 0),
    CHECK (supplied = available + reserved)
);

-- A reservation is held or released.
CREATE TABLE reservations (
    id      uuid PRIMARY KEY,
    -- The saga that made it: unique, so that no saga reserves twice.
    saga_id uuid NOT NULL UNIQUE,
    status  text NOT NULL CHECK (status IN ('held', 'released'))
);

-- Released is for good: goods go back on the shelf once.
CREATE FUNCTION refuse_a_way_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reservation % is %: that has no way out', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER reservations_end_for_good BEFORE UPDATE ON reservations
    FOR EACH ROW WHEN (OLD.status = 'released') EXECUTE FUNCTION refuse_a_way_out();

-- What is set aside: one line per thing, however often the order names it.
CREATE TABLE reservation_lines (
    reservation uuid NOT NULL REFERENCES reservations,
    sku         text NOT NULL REFERENCES stock,
    quantity    bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (reservation, sku)
);

-- The demo's goods: plenty of books, one rare print, and the seats and nights of a trip.
INSERT INTO stock (sku, supplied, available, reserved) VALUES
    ('book', 100000000, 100000000, 0), ('rare-print', 1, 1, 0),
    ('flight-seat', 1000000, 1000000, 0), ('hotel-night', 1000000, 1000000, 0);
