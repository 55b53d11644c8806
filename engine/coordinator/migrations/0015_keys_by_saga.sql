-- Keys of starts may be kept for a shorter time than their sagas. The old ones are found by the time in the ids of their
-- sagas, which grow as the table does: a summary of each range of pages is enough, and costs a start next to nothing.
CREATE INDEX idempotency_keys_by_saga ON idempotency_keys USING brin (saga_id);
