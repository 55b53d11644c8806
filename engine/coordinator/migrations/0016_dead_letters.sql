-- One store of dead letters, those of coordinators and those of services: with the kind of reason, where they come from,
-- and what became of them.

-- An id of version 7, as coordinators and services give it to their letters; for those that an older coordinator writes.
CREATE FUNCTION new_letter_id(at timestamptz DEFAULT clock_timestamp()) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint) FROM 3)
                FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

ALTER TABLE dead_letters DROP CONSTRAINT dead_letters_pkey;
ALTER TABLE dead_letters RENAME COLUMN id TO number;
ALTER TABLE dead_letters
    ADD COLUMN id              uuid NOT NULL DEFAULT new_letter_id(),
    -- A service, or `coordinator`.
    ADD COLUMN source          text NOT NULL DEFAULT 'coordinator',
    -- The kind of reason, as a word.
    ADD COLUMN code            text NOT NULL DEFAULT 'unexplained',
    -- What came and is not in the letter; NULL if all of it is.
    ADD COLUMN missing         text,
    ADD COLUMN status          text NOT NULL DEFAULT 'kept'
        CHECK (status IN ('kept', 'replaying', 'replayed', 'discarded')),
    -- When an operator has decided on it, who, and why.
    ADD COLUMN decided_at      timestamptz,
    ADD COLUMN actor           text,
    ADD COLUMN decision_reason text,
    ADD CONSTRAINT dead_letters_decided_by_somebody CHECK (
        (status = 'kept') = (decided_at IS NULL) AND (status = 'kept') = (actor IS NULL)
        AND (status = 'kept') = (decision_reason IS NULL));

UPDATE dead_letters SET id = new_letter_id(at);
ALTER TABLE dead_letters ADD PRIMARY KEY (id);
ALTER TABLE dead_letters DROP COLUMN number;

-- What waits for an operator is counted now and then, and by saga it is asked for.
CREATE INDEX dead_letters_kept ON dead_letters (source, code) WHERE status = 'kept';
CREATE INDEX dead_letters_by_saga ON dead_letters (saga_id) WHERE saga_id IS NOT NULL;
CREATE INDEX dead_letters_by_age ON dead_letters (at);

-- What an operator does with a letter is audited among the commands on sagas.
ALTER TABLE audit_log ADD COLUMN letter_id uuid;
