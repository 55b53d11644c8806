-- Messages that nobody could use and that the broker did not keep either: its stream of dead letters is full or away, or
-- it refuses the letter. Kept here so that such a message need not come again and again.
--
-- A last resort, so it is small: the service bounds the number of rows and the size of each, and prunes them with the
-- inbox. Nothing reads it but people.
CREATE TABLE inbox_dead_letters (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT now(),
    -- Why nobody could use it.
    reason        text NOT NULL,
    -- The subject on which it came.
    subject       text NOT NULL,
    -- Its headers, a line each, perhaps cut short.
    headers       text NOT NULL,
    -- Its body, perhaps cut short, and how long that was.
    payload       bytea NOT NULL,
    payload_bytes bigint NOT NULL CHECK (payload_bytes >= octet_length(payload)),
    -- Why the broker did not keep it.
    not_kept      text NOT NULL
);
