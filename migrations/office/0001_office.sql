-- What people are asked to approve. The question itself is in the inbox, under the same key.
CREATE TABLE approvals (
    -- Idempotency key of the command.
    key      text COLLATE "C" PRIMARY KEY,
    purpose  text NOT NULL,
    amount   bigint NOT NULL,
    currency text NOT NULL,
    -- `asked` also if a person has answered through the coordinator: the inbox alone is told then.
    state    text NOT NULL CHECK (state IN ('asked', 'approved', 'refused', 'withdrawn')),
    -- The person who answered here.
    by       text CHECK ((by IS NULL) OR state <> 'asked')
);

-- The parts of the company that bear expenses.
CREATE TABLE cost_centres (
    name text PRIMARY KEY
);

-- Expenses that were paid: booked once, for good.
CREATE TABLE expenses (
    id          uuid PRIMARY KEY,
    -- The saga that made it: unique, so that no saga books twice.
    saga_id     uuid NOT NULL UNIQUE,
    employee    text NOT NULL,
    cost_centre text NOT NULL REFERENCES cost_centres,
    amount      bigint NOT NULL CHECK (amount > 0)
);

-- Letters to employees. One that was lost is not written again.
CREATE TABLE letters (
    expense  uuid PRIMARY KEY,
    employee text NOT NULL
);

INSERT INTO cost_centres (name) VALUES ('travel'), ('books');
