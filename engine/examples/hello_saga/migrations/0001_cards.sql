CREATE TABLE cards (
    id uuid PRIMARY KEY,
    text text NOT NULL,
    posted_to text
);
