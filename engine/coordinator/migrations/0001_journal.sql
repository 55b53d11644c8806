-- The journal of the coordinators: source of truth, history and outbox in one.
--
-- The outgoing command of a saga is a function of its row, so state and command commit together. Payloads, replies
-- and states are kept as bytes, exactly as they were sent; jsonb appears only in the views for people.

-- One row per saga: what the next decision needs to know. Changed at every transition, so it stays narrow and no index
-- covers a column that changes with it (HOT updates; watch n_tup_hot_upd).
CREATE TABLE sagas (
    -- UUIDv7, made by the coordinator: sorting by it is sorting by time.
    id         uuid PRIMARY KEY,
    -- The definition with which it was started, for ever.
    saga       text NOT NULL CHECK (saga ~ '^[a-z][a-z0-9-]{0,62}$'),
    version    integer NOT NULL CHECK (version > 0),
    -- The lifecycle as one word; the particulars are in `state`.
    status     text NOT NULL CHECK (status IN ('running', 'compensating', 'parked', 'completed', 'compensated')),
    -- One more at every transition: the guard of each write, and the ETag.
    revision   bigint NOT NULL CHECK (revision > 0),
    -- Steps, open question, frozen plan: JSON of redress-core's SagaState, without the data.
    state      bytea NOT NULL,
    -- The user's data: JSON.
    data       bytea NOT NULL,
    -- The input as it was given: JSON.
    input      bytea NOT NULL,
    -- Labels for finding it again.
    tags       jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    -- When something must happen even if no reply comes; exact, and not indexed because it moves with every step.
    due_at     timestamptz,
    -- A lower bound of due_at, indexed: moves only when it fires, must come earlier, or the saga ends.
    wake_at    timestamptz,
    CHECK ((status IN ('completed', 'compensated')) = (ended_at IS NOT NULL)),
    CHECK (due_at IS NULL OR wake_at IS NOT NULL)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX sagas_to_wake ON sagas (wake_at) WHERE wake_at IS NOT NULL;

-- An end is an end: no program, old or new, leads a saga out of it.
CREATE FUNCTION refuse_a_way_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'saga % is %: a terminal state has no way out', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER sagas_end_for_good BEFORE UPDATE ON sagas
    FOR EACH ROW WHEN (OLD.status IN ('completed', 'compensated') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION refuse_a_way_out();

-- A batch is written as a whole or not at all: a saga that has moved since it was read fails the statement, with the
-- code that says that the same may be tried again.
CREATE FUNCTION all_of(wanted bigint, written bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF wanted <> written THEN
        RAISE EXCEPTION '% of % sagas have moved since they were read', wanted - written, wanted
            USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN written;
END
$$;

-- What happened, attempt by attempt. Append-only; large things are written here once.
CREATE TABLE saga_history (
    saga_id uuid NOT NULL,
    -- From 1, without gaps, given out under the saga's row lock.
    seq     integer NOT NULL CHECK (seq > 0),
    at      timestamptz NOT NULL,
    event   text NOT NULL,
    step    text,
    phase   text CHECK (phase IN ('action', 'compensation', 'settlement')),
    attempt integer,
    -- JSON object: payload, reply, code, reason.
    detail  bytea NOT NULL,
    PRIMARY KEY (saga_id, seq)
);

-- The definitions that were ever deployed: a version is immutable, and its digest proves it.
CREATE TABLE saga_definitions (
    saga          text NOT NULL,
    version       integer NOT NULL,
    digest        text NOT NULL,
    -- Steps, policies and schemas as JSON, to name the difference if the digest is another.
    graph         jsonb NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga, version)
);

-- Keys of starts: the same key is the same saga. Lives as long as its saga.
CREATE TABLE idempotency_keys (
    key         text COLLATE "C" PRIMARY KEY,
    -- SHA-256 of the canonical request body.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    saga_id     uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- What nobody could use, with the reason.
CREATE TABLE dead_letters (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    saga_id   uuid,
    reason    text NOT NULL,
    subject   text NOT NULL,
    headers   jsonb NOT NULL DEFAULT '{}',
    payload   bytea NOT NULL
);

-- Injected failures of the whole installation.
CREATE TABLE faults (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fault     jsonb NOT NULL,
    -- How often it may still strike; NULL is for ever.
    remaining integer CHECK (remaining >= 0),
    added_at  timestamptz NOT NULL DEFAULT now()
);

-- Who did what, written in the transaction of what was done.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    verb    text NOT NULL,
    saga_id uuid,
    reason  text NOT NULL
);

-- For people with psql: one row per step.
CREATE VIEW saga_steps AS
SELECT s.id AS saga_id, s.saga, s.status AS saga_status, step.value ->> 'name' AS step,
       CASE jsonb_typeof(step.value -> 'progress')
           WHEN 'string' THEN step.value ->> 'progress'
           ELSE (SELECT key FROM jsonb_object_keys(step.value -> 'progress') AS key LIMIT 1)
       END AS progress,
       coalesce((step.value ->> 'attempts')::integer, 0) AS attempts,
       coalesce((step.value ->> 'compensation_attempts')::integer, 0) AS compensation_attempts,
       step.value -> 'error' AS error
FROM sagas s, jsonb_array_elements(convert_from(s.state, 'UTF8')::jsonb -> 'steps') AS step;

-- For people with psql: the history with readable details.
CREATE VIEW saga_history_readable AS
SELECT saga_id, seq, at, event, step, phase, attempt, convert_from(detail, 'UTF8')::jsonb AS detail
FROM saga_history;
