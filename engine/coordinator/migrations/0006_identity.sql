-- Who this journal is: one row, made once. The streams at the broker carry the same id, so that another installation with
-- the same prefix is refused there instead of sending its commands to this one's services.
CREATE TABLE journal_identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO journal_identity DEFAULT VALUES;
