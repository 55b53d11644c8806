-- An event may be sent by label, to the open sagas that bear it: as often as a third party calls, and among a hundred
-- thousand that wait. A label never changes, so that no step of a saga costs anything here; a saga without labels, never.
CREATE INDEX sagas_open_tags ON sagas USING gin (tags jsonb_path_ops) WHERE ended_at IS NULL AND tags <> '{}';
