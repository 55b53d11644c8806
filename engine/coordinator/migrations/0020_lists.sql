-- Lists and look-ups cost the same however many sagas have ended: each walks an index newest first (`journal/walks.rs`).
--
-- No index of `sagas` names `status`, neither in its key nor in its condition: Postgres asks of every column that any index
-- names whether it has changed, rows outside of the index included, and an update that changes one is no longer HOT. What
-- was undone or closed is found by the row of history that says so. All of these may be built beforehand, while
-- coordinators are at work: docs/operations.md, "Before an upgrade".

-- The open ones, by what they are and then in the order of lists: those that await something from outside apart, of which
-- there may be a hundred thousand, none of them stalled or parked; each definition and version apart, as they are counted.
-- One index answers all of it (a walk goes from one kind to the next), since each more is written with every start.
CREATE INDEX IF NOT EXISTS sagas_open_by_kind ON sagas (awaiting, saga, version, id) WHERE ended_at IS NULL;
DROP INDEX IF EXISTS sagas_open;

-- The ended ones of a definition: written once, with the end.
CREATE INDEX IF NOT EXISTS sagas_ended_by_definition ON sagas (saga, id) WHERE ended_at IS NOT NULL;

-- Those that were closed while the outcome of a step is still being verified: hardly ever one.
CREATE INDEX IF NOT EXISTS sagas_verified ON sagas (saga, version) WHERE ended_at IS NOT NULL AND wake_at IS NOT NULL;

-- The ends that are rare: one row of each such history. Those that completed are found among all.
CREATE INDEX IF NOT EXISTS saga_history_undone ON saga_history (event, saga_id) WHERE event IN ('compensated', 'closed');

-- A saga that rests waits for an operator, whatever else it awaits (`SagaState::is_awaiting`).
UPDATE sagas SET awaiting = false WHERE ended_at IS NULL AND awaiting AND status IN ('parked', 'paused');

-- Labels, one row each, in the order in which lists show their sagas: a label may be borne by most sagas, or by most of a
-- month long ago. Kept by the database itself, so that it holds what older coordinators start and prune, too; a saga
-- without labels costs a comparison. If the table is there, it was made and filled beforehand.
DO $migration$
BEGIN
    IF to_regclass('saga_tags') IS NOT NULL THEN
        RETURN;
    END IF;

    CREATE TABLE saga_tags (
        name    text COLLATE "C" NOT NULL,
        value   text COLLATE "C" NOT NULL,
        saga_id uuid NOT NULL,
        PRIMARY KEY (name, value, saga_id)
    );
    CREATE INDEX saga_tags_by_value ON saga_tags (value, saga_id);

    CREATE FUNCTION keep_saga_tags() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO saga_tags (name, value, saga_id)
        SELECT tag.key, tag.value, NEW.id FROM jsonb_each_text(NEW.tags) AS tag ON CONFLICT DO NOTHING;
        RETURN NULL;
    END
    $$;
    CREATE FUNCTION forget_saga_tags() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM saga_tags USING jsonb_each_text(OLD.tags) AS tag
        WHERE saga_tags.name = tag.key AND saga_tags.value = tag.value AND saga_tags.saga_id = OLD.id;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER sagas_keep_tags AFTER INSERT ON sagas
        FOR EACH ROW WHEN (NEW.tags <> '{}') EXECUTE FUNCTION keep_saga_tags();
    CREATE TRIGGER sagas_forget_tags AFTER DELETE ON sagas
        FOR EACH ROW WHEN (OLD.tags <> '{}') EXECUTE FUNCTION forget_saga_tags();

    INSERT INTO saga_tags (name, value, saga_id)
    SELECT tag.key, tag.value, sagas.id FROM sagas, jsonb_each_text(sagas.tags) AS tag WHERE sagas.tags <> '{}'
    ON CONFLICT DO NOTHING;
END
$migration$;
