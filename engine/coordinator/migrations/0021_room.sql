-- Room on each page for the next versions of its rows. Sagas that were started together lie on one page and go on together,
-- in one statement, so that a page needs room for another version of nearly all its rows. With a fillfactor of 70 it had
-- room for one: 57 of 100 updates were HOT, and the others wrote every index. With 45 it is 74, and the table is smaller,
-- too (measured over HTTP, 6,000 orders with 1,000 in flight: 4.4 KB a saga instead of 4.9). The end of a saga never is HOT.
ALTER TABLE sagas SET (fillfactor = 45);
