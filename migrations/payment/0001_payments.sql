-- Accounts and a double-entry ledger: every posting has two legs that sum to zero, and every balance is the sum of
-- its account's legs. All amounts are minor units.
CREATE TABLE accounts (
    customer text PRIMARY KEY,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Never below zero: there is no credit. Only the house may owe.
    balance  bigint NOT NULL,
    CHECK (balance >= 0 OR customer = 'house')
);

-- A payment is charged once and refunded at most once.
CREATE TABLE payments (
    id       uuid PRIMARY KEY,
    -- The saga that made it: unique, so that no saga charges twice.
    saga_id  uuid NOT NULL UNIQUE,
    customer text NOT NULL REFERENCES accounts,
    amount   bigint NOT NULL CHECK (amount > 0),
    status   text NOT NULL CHECK (status IN ('charged', 'refunded'))
);

-- The legs. Unique per command and account: a command that was carried out twice cannot be written down.
CREATE TABLE ledger (
    -- Idempotency key of the command that posted it.
    key     text COLLATE "C" NOT NULL,
    account text NOT NULL REFERENCES accounts,
    -- Above zero: the account gets it.
    amount  bigint NOT NULL CHECK (amount <> 0),
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, account)
);

-- The demo's customers: one is rich, one has 5.00. What they own was paid in by the house.
INSERT INTO accounts (customer, currency, balance) VALUES
    ('house', 'EUR', -1000000000500), ('alice', 'EUR', 1000000000000), ('bob', 'EUR', 500);
INSERT INTO ledger (key, account, amount) VALUES
    ('opening/alice', 'alice', 1000000000000), ('opening/alice', 'house', -1000000000000),
    ('opening/bob', 'bob', 500), ('opening/bob', 'house', -500);
