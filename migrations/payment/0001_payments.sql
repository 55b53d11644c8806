-- Accounts and a double-entry ledger: every posting has two legs that sum to zero, and every balance is the sum of
-- its account's legs. All amounts are minor units; the demo has one currency, and another one needs a house of its own.
CREATE TABLE accounts (
    customer text PRIMARY KEY,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Never below zero: there is no credit. The house alone has none: its legs tell what it owes, and a row that
    -- every payment changes would be the slowest of all.
    balance  bigint CHECK (balance >= 0),
    CHECK ((balance IS NULL) = (customer = 'house'))
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

-- Refunded is for good: money goes back once.
CREATE FUNCTION refuse_a_way_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payment % is %: that has no way out', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER payments_end_for_good BEFORE UPDATE ON payments
    FOR EACH ROW WHEN (OLD.status = 'refunded') EXECUTE FUNCTION refuse_a_way_out();

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

-- What is in a ledger is made good by another posting, never by a rubber.
CREATE FUNCTION refuse_a_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: post the opposite instead'
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_a_change();

-- The demo's customers: one is rich, one has 5.00. What they own was paid in by the house.
INSERT INTO accounts (customer, currency, balance) VALUES
    ('house', 'EUR', NULL), ('alice', 'EUR', 1000000000000), ('bob', 'EUR', 500);
INSERT INTO ledger (key, account, amount) VALUES
    ('opening/alice', 'alice', 1000000000000), ('opening/alice', 'house', -1000000000000),
    ('opening/bob', 'bob', 500), ('opening/bob', 'house', -500);
