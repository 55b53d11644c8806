-- Whether all that a saga waits for are answers that come later, as its participants have said: then it is as it should
-- be, however long it takes, and not counted as stalled.
ALTER TABLE sagas ADD COLUMN awaiting boolean NOT NULL DEFAULT false;
