-- Who this inbox is: one row, made once. The service's consumer at the broker carries the same id, so that a service of the
-- same name with another database is refused there instead of taking half of the commands.
CREATE TABLE inbox_identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO inbox_identity DEFAULT VALUES;
