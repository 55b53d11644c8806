//! The JetStream adapter that coordinators and participants share.
//!
//! The broker is fast and allowed to forget. It acknowledges before it syncs, it forgets its deduplication window,
//! and its store may be wiped in the middle of a run: the journal and the inboxes are authoritative, and this crate
//! only has to bring messages across soon, and to notice when streams or consumers are gone and build them anew.
//!
//! - [`topology`]: names of subjects, streams and consumers, all under one configurable prefix.
//! - [`headers`]: the envelope of a message, in headers; the body is only the payload.
//! - [`streams`]: what the streams must look like.
//! - [`Inflow`]: a supervised consumer that never ends. [`Delivery`]: one message of it, to be settled.
//! - [`Notifications`]: what is told once, over core NATS, and kept nowhere.
//! - [`Wire`]: the connection; publishes in bursts.
//!
//! This is the only crate of the engine that names `async_nats`.

mod anchor;
pub mod connect;
pub mod delivery;
pub mod headers;
pub mod inflow;
mod life;
pub mod listening;
pub mod notify;
pub mod publish;
pub mod settings;
pub mod streams;
pub mod topology;

pub use connect::{ConnectError, Stats, Wire, WireHealth};
pub use delivery::Delivery;
pub use headers::{Malformed, ReplyAddress};
pub use inflow::Inflow;
pub use listening::ListeningError;
pub use notify::Notifications;
pub use publish::{DeadLetter, PublishError};
pub use settings::Settings;
pub use topology::Topology;
