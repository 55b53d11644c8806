//! Answers that come later and calls to third parties, through whole installations on real servers: the expenses of a
//! firm, which a person approves and a card provider pays.

mod answers;
mod approvals;
mod books;
mod crashes;
mod finding;
mod firm;
mod wipe;
