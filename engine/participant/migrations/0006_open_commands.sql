-- Commands that have no answer yet, and survive a commit without one.
--
-- 'open': the answer comes later, from any code of the service, in a transaction of its own.
-- 'prepared': a third party is called; `reply` holds what is asked of it, and until `called_until` a call or an inquiry
-- may be under way, so that nothing is said of the command before. 'given-up': it was called, nobody knows whether it
-- happened, it was undone in this doubt, and is never called again.
ALTER TABLE inbox
    DROP CONSTRAINT inbox_outcome_check,
    DROP CONSTRAINT inbox_check,
    DROP CONSTRAINT inbox_check1,
    -- Until when a call may be under way.
    ADD COLUMN called_until timestamptz,
    ADD CONSTRAINT inbox_outcome CHECK
        (outcome IN ('claimed', 'done', 'rejected', 'fenced', 'open', 'prepared', 'given-up')),
    ADD CONSTRAINT inbox_reply CHECK
        ((outcome IN ('done', 'rejected', 'prepared', 'given-up')) = (reply IS NOT NULL)),
    ADD CONSTRAINT inbox_fingerprint CHECK (outcome IN ('claimed', 'fenced') OR fingerprint IS NOT NULL),
    ADD CONSTRAINT inbox_called_until CHECK ((outcome = 'prepared') = (called_until IS NOT NULL));

DROP FUNCTION inbox_known(text[]);

-- What is remembered of these keys. A row that is still 'claimed' can be seen by its own transaction only.
CREATE FUNCTION inbox_known(keys text[])
    RETURNS TABLE (key text, fingerprint bytea, outcome text, reply bytea, called_until timestamptz)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    RETURN QUERY SELECT i.key, i.fingerprint, i.outcome, i.reply, i.called_until FROM inbox AS i
        WHERE i.key = ANY (keys) AND i.outcome <> 'claimed';
END
$$;

-- Changes rows that had no final answer yet, if they still are what they were; says how many. What was claimed has no
-- time of a call, and so NULL for it.
CREATE FUNCTION inbox_change(
    keys text[], fingerprints bytea[], outcomes text[], replies bytea[], called_untils timestamptz[],
    old_outcomes text[], old_called_untils timestamptz[])
    RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    written bigint;
BEGIN
    UPDATE inbox SET fingerprint = coalesce(n.fingerprint, inbox.fingerprint), outcome = n.outcome, reply = n.reply,
            called_until = n.called_until, handled_at = now()
        FROM unnest(keys, fingerprints, outcomes, replies, called_untils, old_outcomes, old_called_untils)
            AS n (key, fingerprint, outcome, reply, called_until, old_outcome, old_called_until)
        WHERE inbox.key = n.key AND inbox.outcome = n.old_outcome
            AND inbox.called_until IS NOT DISTINCT FROM n.old_called_until;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Locks the row of a call that is concluded now, if it is still this call's.
CREATE FUNCTION inbox_hold_call(called text, until timestamptz) RETURNS boolean LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    PERFORM 1 FROM inbox WHERE key = called AND outcome = 'prepared' AND called_until = until FOR UPDATE;
    RETURN FOUND;
END
$$;

-- This call is over, and nobody knows what became of it: nothing need wait for it any longer.
CREATE FUNCTION inbox_end_call(called text, until timestamptz) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    UPDATE inbox SET called_until = clock_timestamp()
        WHERE key = called AND outcome = 'prepared' AND called_until = until;
END
$$;
