//! The ownership of the streams, and the permissions that follow from it.
//!
//! A coordinator takes the streams of its prefix for its journal. From then on it publishes to no other journal's: after
//! each lost connection it looks first, since a wiped broker may have been set up anew by another installation.

/// A connection among all that this wire has had: the number of its client, and its number of that client's.
pub(crate) type Connection = (u64, u64);

/// The owner of the streams at the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// There was no look yet, or no answer.
    Unknown,
    /// Ours, on this connection.
    Ours(Connection),
    /// Another journal's.
    Strange,
}
