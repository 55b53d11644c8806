-- The statements on the inbox whose plan must not depend on when it was made.
--
-- A session keeps the plan of a batch's statement, made while the inbox was small; pinned to the index, that plan stays
-- good as it grows. The settings that pin it end with the function: the handlers run on the same session, in the same
-- transaction, and their plans are their own affair. So nothing is left on a session that others use next, as behind a
-- pooler.

-- What is remembered of these keys. A row that is still 'claimed' can be seen by its own transaction only.
CREATE FUNCTION inbox_known(keys text[])
    RETURNS TABLE (key text, fingerprint bytea, outcome text, reply bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    RETURN QUERY SELECT i.key, i.fingerprint, i.outcome, i.reply FROM inbox AS i
        WHERE i.key = ANY (keys) AND i.outcome <> 'claimed';
END
$$;

-- Writes the answers to keys that this transaction has claimed; says how many.
CREATE FUNCTION inbox_answer(keys text[], fingerprints bytea[], outcomes text[], replies bytea[])
    RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    written bigint;
BEGIN
    UPDATE inbox SET fingerprint = n.fingerprint, outcome = n.outcome, reply = n.reply
        FROM unnest(keys, fingerprints, outcomes, replies) AS n (key, fingerprint, outcome, reply)
        WHERE inbox.key = n.key AND inbox.outcome = 'claimed';
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Gives back keys that this transaction has claimed and not answered.
CREATE FUNCTION inbox_give_back(keys text[]) RETURNS void LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    DELETE FROM inbox WHERE inbox.key = ANY (keys) AND inbox.outcome = 'claimed';
END
$$;
