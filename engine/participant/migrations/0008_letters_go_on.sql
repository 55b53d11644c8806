-- Letters that are kept here because the broker refused them go on to the journal once it takes them: as the letter that
-- they were from the beginning, with the kind of reason, and with a word on what was not kept here.
ALTER TABLE inbox_dead_letters
    ADD COLUMN letter_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN code      text NOT NULL DEFAULT 'unexplained',
    -- What came and is not in the row; NULL if all of it is.
    ADD COLUMN missing   text;

-- An older version did not say; it cut the body and said how long it was.
UPDATE inbox_dead_letters SET missing = payload_bytes || ' bytes came' WHERE payload_bytes > octet_length(payload);
