-- The inbox of a participant: one row per question that it was asked, with the answer that it gave.
--
-- A row commits in the transaction of the effect that it speaks of, so it is the truth about what happened in this
-- database. Only the unique key decides a race: whoever inserts it first runs the handler.
CREATE TABLE inbox (
    -- <saga-id>/<step>/<phase>/<generation>; compared byte by byte, and time-ordered because saga ids are UUIDv7.
    key         text COLLATE "C" PRIMARY KEY,
    -- SHA-256 of command name and payload; NULL on a bare fence, which no command of its own has made.
    fingerprint bytea CHECK (octet_length(fingerprint) = 32),
    -- 'claimed' exists only inside an open transaction: before its commit every claim gets its answer or is deleted.
    outcome     text NOT NULL DEFAULT 'claimed' CHECK (outcome IN ('claimed', 'done', 'rejected', 'fenced')),
    -- The answer, byte for byte (jsonb would reorder keys): the reply when done, code and message when rejected.
    reply       bytea,
    -- When it was answered. Commands whose action is older than the retention are answered `expired`, so that rows
    -- of that age can be pruned without being missed.
    handled_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((outcome IN ('done', 'rejected')) = (reply IS NOT NULL)),
    CHECK (outcome IN ('claimed', 'fenced') OR fingerprint IS NOT NULL)
) WITH (
    -- The claim and its answer, which is the larger one, are two versions of one row: with room on the page for both,
    -- the second one needs no index entry. (Measured: 60 leaves half of the updates without, and doubles their time.)
    fillfactor = 35,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);
