//! The ports of the coordinator: the parts of the outside world that its loops run on.
//!
//! | port | what it promises | the real one |
//! |---|---|---|
//! | [`Journal`] | a unit of work is written as a whole, on the revisions that it was decided on, or not at all | [`PgJournal`] |
//! | [`JournalReads`] | sagas and their history as they are stored, for people | the same |
//! | [`JournalUpkeep`] | counts of open sagas, waking them, and pruning: never an open one | the same |
//! | [`JournalLetters`] | a dead letter is kept once, and decided on once | the same |
//! | [`Bus`] | messages arrive at least once, in any order, or are lost; a reply comes again until it is acknowledged | [`Wire`] |
//! | [`Clock`] | a monotonic time, pauses, jitter, new ids | [`SystemClock`](crate::SystemClock) |
//!
//! The vocabulary is that of the core: nothing here names SQL, NATS or a runtime. `redress_simulation::conformance` says in
//! tests what each promise means; every adapter passes it, and so can a journal of somebody's own.
//!
//! [`PgJournal`]: crate::journal::PgJournal
//! [`Wire`]: redress_wire::Wire

mod bus;
mod clock;
mod data;
mod errors;
mod journal;
mod letters;
mod list_cursor;
mod places;
mod reads;

pub use bus::{
    Acknowledge, Backlog, Bus, BusHealth, Incoming, Lag, Letters, RawMessage, Replies, TakenLetter, Traffic,
};
pub use clock::Clock;
pub use data::{
    Audit, COORDINATOR, Change, Changes, DeadLetter, FIRST_REVISION, Fingerprint, Inserted, LongestWaits,
    NewSaga, Selection, Snapshot, Stored, StoredStart, StoredState,
};
pub use errors::{Cause, JournalError, RegisterError};
pub use journal::{Journal, JournalReads, JournalUpkeep, Keep};
pub use letters::{
    JournalLetters, LetterDecision, LetterFilter, LetterGroup, LetterRoom, LetterRow, LetterState,
    LetterStep, decided_status,
};
pub use list_cursor::{InvalidListCursor, ListCursor};
pub use places::{NewPlace, PlaceChange, PlaceMark};
pub use reads::{
    HistoryRow, Include, LOOKED_AT_MAX, ListFilter, Listed, OpenSaga, OpenSagas, Replied, Rest, Rows,
    SagaRow, Standing, UnderWay,
};
