-- What the closures of a deployed definition make of example data: a version is immutable in that, too.
ALTER TABLE saga_definitions
    -- In which form it is kept; another program's form is not compared. NULL, as is the behaviour, for what was
    -- deployed by a program that did not try closures yet, and where their author wants them left out: the next
    -- program that registers the version and does try them fills it in.
    ADD COLUMN behaviour_scheme smallint,
    -- The examples and what was made of them, as canonical JSON. Not jsonb: numbers stay as they were written.
    ADD COLUMN behaviour        text,
    ADD CHECK ((behaviour_scheme IS NULL) = (behaviour IS NULL));
