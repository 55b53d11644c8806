-- What is due is looked for definition by definition: sagas of a version that a coordinator does not know may wait by the
-- thousand, and must not be read again at every look of its timers.
CREATE INDEX sagas_due ON sagas (saga, version, wake_at) WHERE wake_at IS NOT NULL;
DROP INDEX sagas_to_wake;
