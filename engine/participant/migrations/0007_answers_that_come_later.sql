-- Questions that are open, and answers to them that were given and must be sent.
--
-- The message that asked is long acknowledged when the answer comes, so the row keeps what a reply is addressed with. It
-- does so until the broker has stored the reply: from then on whoever misses it asks again, and is answered by the row.
ALTER TABLE inbox
    -- The command, so that no answer of another type is stored.
    ADD COLUMN asked_command text,
    -- The saga's definition and its version.
    ADD COLUMN asked_saga text,
    ADD COLUMN asked_version bigint,
    -- The attempt that was accepted.
    ADD COLUMN asked_attempt bigint,
    -- An answer was given and is to be published, then at the earliest: an instance that publishes it sets a later time
    -- first, so that another one takes over if it dies.
    ADD COLUMN reply_due_at timestamptz,
    ADD CONSTRAINT inbox_asked_together CHECK (num_nulls(asked_command, asked_saga, asked_version, asked_attempt) IN (0, 4)),
    ADD CONSTRAINT inbox_asked CHECK ((outcome = 'open' OR reply_due_at IS NOT NULL) = (asked_saga IS NOT NULL)),
    ADD CONSTRAINT inbox_reply_due CHECK (reply_due_at IS NULL OR outcome IN ('done', 'rejected'));

-- Empty most of the time: a look at it costs next to nothing.
CREATE INDEX inbox_reply_due ON inbox (reply_due_at) WHERE reply_due_at IS NOT NULL;

-- Leaves questions open that this transaction has claimed; says how many.
CREATE FUNCTION inbox_leave_open(
    keys text[], fingerprints bytea[], commands text[], sagas text[], versions bigint[], attempts bigint[]
)
    RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    written bigint;
BEGIN
    UPDATE inbox SET fingerprint = n.fingerprint, outcome = 'open', asked_command = n.command, asked_saga = n.saga,
            asked_version = n.version, asked_attempt = n.attempt
        FROM unnest(keys, fingerprints, commands, sagas, versions, attempts)
            AS n (key, fingerprint, command, saga, version, attempt)
        WHERE inbox.key = n.key AND inbox.outcome = 'claimed';
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Closes open questions with what the message that asks about them is answered; says how many were still open.
CREATE FUNCTION inbox_close(keys text[], outcomes text[], replies bytea[])
    RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    written bigint;
BEGIN
    UPDATE inbox SET outcome = n.outcome, reply = n.reply, handled_at = now(), asked_command = NULL, asked_saga = NULL,
            asked_version = NULL, asked_attempt = NULL
        FROM unnest(keys, outcomes, replies) AS n (key, outcome, reply)
        WHERE inbox.key = n.key AND inbox.outcome = 'open';
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Takes answers that are due, at most so many, and puts them off, so that no other instance takes them meanwhile.
CREATE FUNCTION inbox_take_due(answers_max bigint, put_off interval)
    RETURNS TABLE (key text, outcome text, reply bytea, saga text, version bigint, attempt bigint, taken_until timestamptz)
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    RETURN QUERY UPDATE inbox AS i SET reply_due_at = now() + put_off
        WHERE i.key IN (
            SELECT due.key FROM inbox AS due WHERE due.reply_due_at <= now()
            ORDER BY due.reply_due_at LIMIT answers_max FOR UPDATE SKIP LOCKED)
        RETURNING i.key, i.outcome, i.reply, i.asked_saga, i.asked_version, i.asked_attempt, i.reply_due_at;
END
$$;

-- Forgets how answers were to be addressed that the broker has stored, unless another instance has taken them since.
CREATE FUNCTION inbox_sent(keys text[], taken_until timestamptz) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    UPDATE inbox SET reply_due_at = NULL, asked_command = NULL, asked_saga = NULL, asked_version = NULL,
            asked_attempt = NULL
        WHERE inbox.key = ANY (keys) AND inbox.reply_due_at = taken_until;
END
$$;
