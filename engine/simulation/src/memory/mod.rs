//! Journal and bus in memory: the promises of Postgres and JetStream on which Redress relies, and no more.
//!
//! The journal commits a unit of work as a whole or not at all, and refuses it if one of the sagas has moved since it was
//! read; an ended saga keeps its status. The bus delivers at least once, in any order, to the taker that asks first; a
//! message that is not acknowledged in time comes again, and all of it may be gone tomorrow.
//!
//! Both implement the coordinator's own [ports](redress_coordinator::ports), so that an `Engine` runs on them
//! (`Engine::on`), and pass the same [conformance suite](crate::conformance) as the real ones.

mod bus;
mod journal;
mod letters;
mod list;
mod place_row;
mod places;
mod queue;
mod reads;
mod saga_view;
mod select;
mod tables;
mod upkeep;

pub use bus::{MemoryAcknowledge, MemoryBus, MemoryLetterAcknowledge, MemoryLetters, MemoryReplies, Store};
pub use journal::MemoryJournal;
pub use queue::Queue;
pub use tables::Row;
