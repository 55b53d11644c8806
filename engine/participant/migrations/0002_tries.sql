-- Last words: which command is being run alone, because it has come again and again.
--
-- Written and committed before such a command runs, and taken back when it is settled. What still stands when the
-- command comes once more says that it, and none of those delivered with it, was running when the process or the
-- connection was lost. So a command is given up for what it has done itself, however often its neighbours came.
CREATE TABLE inbox_tries (
    key      text COLLATE "C" PRIMARY KEY,
    tries    integer NOT NULL DEFAULT 1 CHECK (tries > 0),
    tried_at timestamptz NOT NULL DEFAULT now()
);
