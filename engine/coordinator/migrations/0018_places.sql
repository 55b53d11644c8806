-- The places of steps in the orders of their keys. A place is taken in the transaction of the start, under a lock of its key
-- that lasts until the commit: so the order of the numbers is the order of the commits, and a place that is seen to be the
-- first stays the first. Starts without an ordered step write nothing here.
CREATE SEQUENCE saga_place_numbers;

CREATE TABLE saga_places (
    -- Service and command of the step.
    scope    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    number   bigint NOT NULL DEFAULT nextval('saga_place_numbers'),
    saga_id  uuid NOT NULL,
    step     text NOT NULL,
    -- `new`: nobody has looked where it stands; `waiting`: another one stands before it; `first`: its saga knows that it is
    -- the first; `let-go`: its saga has let it go, and the next one may not know yet.
    standing text NOT NULL DEFAULT 'new' CHECK (standing IN ('new', 'waiting', 'first', 'let-go')),
    PRIMARY KEY (scope, key, number),
    UNIQUE (saga_id, step)
);

-- What a look has to do: nothing, as long as all wait and one of each key is under way.
CREATE INDEX saga_places_changed ON saga_places (number) WHERE standing IN ('new', 'let-go');
