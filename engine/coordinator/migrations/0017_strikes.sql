-- What each standing fault has struck: written in the transaction of the decision that sends the struck commands.
ALTER TABLE faults
    ADD COLUMN struck          bigint NOT NULL DEFAULT 0 CHECK (struck >= 0),
    ADD COLUMN first_struck_at timestamptz,
    ADD COLUMN last_struck_at  timestamptz,
    -- The last few: saga, step, phase, generation, attempt and time of each, the newest last.
    ADD COLUMN last_strikes    jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(last_strikes) = 'array');
