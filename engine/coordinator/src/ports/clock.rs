//! The port of everything that is not decided by events: the passing of time, and chance.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

/// The passing of time, and chance. Cheap to clone; clones are the same clock.
///
/// The time of day is not here: it is the journal's ([`Journal::now`](super::Journal::now)). A simulation hands in a
/// clock whose pauses cost nothing and whose draws follow a seed.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The time since a moment that is the same for all clones: never less than before.
    fn monotonic(&self) -> Duration;

    /// Completes once so much time has passed; may be dropped before.
    fn sleep(&self, pause: Duration) -> impl Future<Output = ()> + Send;

    /// A draw from `0.0..1.0`, to spread what would otherwise happen together.
    fn jitter(&self) -> f64;

    /// A new UUID of version 7, the id of a saga or of an operator command: unique among all coordinators.
    fn new_id(&self) -> Uuid;
}
