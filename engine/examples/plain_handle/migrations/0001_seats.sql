CREATE TABLE seats (
    number bigint PRIMARY KEY,
    traveller text NOT NULL
);
