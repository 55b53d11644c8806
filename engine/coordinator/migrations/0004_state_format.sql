-- Which form the state of a saga is stored in. A coordinator that does not know the form of a row leaves it to those that
-- do: it neither reads a decision out of it nor writes it, and moves no mark of it.
ALTER TABLE sagas ADD COLUMN state_format integer NOT NULL DEFAULT 1 CHECK (state_format > 0);

-- The form stands behind the time, so that rows of a newer form are passed over within the index.
DROP INDEX sagas_due;
CREATE INDEX sagas_due ON sagas (saga, version, wake_at, state_format) WHERE wake_at IS NOT NULL;
