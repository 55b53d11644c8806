//! The JetStream adapter that coordinators and participants share.
//!
//! The broker is fast and allowed to forget. It acknowledges before it syncs, it forgets its deduplication window,
//! and its store may be wiped in the middle of a run: the journal and the inboxes are authoritative, and this crate
//! only has to bring messages across soon, and to notice when streams or consumers are gone and build them anew.
//!
//! - [`topology`]: names of subjects, streams and consumers, all under one configurable prefix.
//! - [`headers`]: the envelope of a message, in headers; the body is only the payload. `bundle`: several replies in one.
//! - [`streams`]: the configuration of the streams.
//! - [`Consumer`]: a supervised consumer that never ends. [`Delivery`]: one message of it, to be settled.
//! - [`Notifications`]: messages that are sent once, over core NATS, and kept nowhere.
//! - `ends`: the ends of sagas, as hints from coordinator to coordinator.
//! - [`Wire`]: the connection; publishes in bursts.
//!
//! This is the only crate of the engine that names `async_nats`.

mod anchor;
mod bundle;
mod casting;
mod claiming;
pub mod config;
pub mod connect;
mod connect_error;
pub mod consumer;
pub mod consumers;
pub mod dead_letter;
pub mod delivery;
mod ends;
pub mod headers;
pub mod knowing;
mod letter;
mod letter_headers;
mod link;
pub mod listening;
pub mod notify;
mod ownership;
pub mod publish;
mod servers;
mod stats;
mod stream_incarnation;
pub mod streams;
mod succession;
mod taking;
pub mod topology;
mod unreadable;
mod wire;

pub use config::WireConfig;
pub use connect_error::ConnectError;
pub use consumer::Consumer;
pub use consumers::ConsumerError;
pub use dead_letter::{DeadLetter, DeadLetters, Kept};
pub use delivery::{Delivery, Position};
pub use headers::{Malformed, ReplyAddress};
pub use listening::{Backlog, ListeningError};
pub use notify::Notifications;
pub use publish::PublishError;
pub use stats::Stats;
pub use topology::Topology;
pub use wire::{Wire, WireHealth};
