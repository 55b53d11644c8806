-- Operators: pause, close, and orders that are found again; what is open, and what is old.

ALTER TABLE sagas
    DROP CONSTRAINT sagas_status_check,
    ADD CONSTRAINT sagas_status_check CHECK (status IN (
        'running', 'compensating', 'parked', 'paused', 'completed', 'compensated', 'closed')),
    DROP CONSTRAINT sagas_check,
    ADD CONSTRAINT sagas_ended_has_a_time CHECK (
        (status IN ('completed', 'compensated', 'closed')) = (ended_at IS NOT NULL));

-- An end is an end. (The row itself may still change: what an operator has told is verified after the end, too.)
DROP TRIGGER sagas_end_for_good ON sagas;
CREATE TRIGGER sagas_end_for_good BEFORE UPDATE ON sagas
    FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'compensated', 'closed') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION refuse_a_way_out();

-- Names an order, so that whoever lost the answer to its commit can look whether it was carried out.
ALTER TABLE audit_log ADD COLUMN order_id uuid;
CREATE UNIQUE INDEX audit_log_by_order ON audit_log (order_id) WHERE order_id IS NOT NULL;

-- What is open is counted now and then, for the versions of definitions that it needs. Neither the columns nor the
-- condition change before the end, so that transitions stay HOT.
CREATE INDEX sagas_open ON sagas (saga, version) WHERE ended_at IS NULL;

-- The key of its start is pruned with a saga; kept here, as an index on the saga of a key would cost every start.
ALTER TABLE sagas ADD COLUMN key text COLLATE "C";
UPDATE sagas SET key = known.key FROM idempotency_keys AS known WHERE known.saga_id = sagas.id;
