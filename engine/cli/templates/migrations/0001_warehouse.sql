-- The goods that are free to be reserved, in pieces.
CREATE TABLE stock (
    sku text PRIMARY KEY,
    available bigint NOT NULL CHECK (available >= 0)
);
INSERT INTO stock (sku, available) VALUES ('book', 10);

CREATE TABLE reservations (
    id uuid PRIMARY KEY,
    sku text NOT NULL REFERENCES stock (sku),
    quantity bigint NOT NULL CHECK (quantity > 0)
);

CREATE TABLE parcels (
    id uuid PRIMARY KEY REFERENCES reservations (id),
    address text NOT NULL
);
