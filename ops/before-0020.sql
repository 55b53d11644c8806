-- What migration 0020 of the journal makes, made beforehand while coordinators are at work: `psql -f ops/before-0020.sql`,
-- not in one transaction. It needs the rights of the owner of the tables, and some minutes for each million of sagas. The
-- migration then finds all of it and takes no time. An index whose CREATE was interrupted is invalid: drop it and begin again.

CREATE INDEX CONCURRENTLY IF NOT EXISTS sagas_open_by_kind ON sagas (awaiting, saga, version, id) WHERE ended_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sagas_ended_by_definition ON sagas (saga, id) WHERE ended_at IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sagas_verified ON sagas (saga, version)
    WHERE ended_at IS NOT NULL AND wake_at IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS saga_history_undone ON saga_history (event, saga_id)
    WHERE event IN ('compensated', 'closed');

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

-- The role of the coordinators, if it is not the one that runs this, needs its rights before the triggers are there:
-- GRANT SELECT, INSERT, UPDATE, DELETE ON saga_tags TO coordinator;

CREATE TRIGGER sagas_keep_tags AFTER INSERT ON sagas
    FOR EACH ROW WHEN (NEW.tags <> '{}') EXECUTE FUNCTION keep_saga_tags();

CREATE TRIGGER sagas_forget_tags AFTER DELETE ON sagas
    FOR EACH ROW WHEN (OLD.tags <> '{}') EXECUTE FUNCTION forget_saga_tags();

INSERT INTO saga_tags (name, value, saga_id)
SELECT tag.key, tag.value, sagas.id FROM sagas, jsonb_each_text(sagas.tags) AS tag WHERE sagas.tags <> '{}'
ON CONFLICT DO NOTHING;
