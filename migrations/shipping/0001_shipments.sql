-- Where the carrier does not go: an address that holds one of these words, in any case, is undeliverable.
CREATE TABLE undeliverable_regions (
    region text PRIMARY KEY
);

-- What is on the truck.
CREATE TABLE shipments (
    id         uuid PRIMARY KEY,
    -- The saga that made it: unique, so that no saga ships twice.
    saga_id    uuid NOT NULL UNIQUE,
    address    text NOT NULL,
    shipped_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO undeliverable_regions (region) VALUES ('Atlantis');
