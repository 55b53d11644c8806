//! The right to call a third party for a command, as plain data. It is a row of the inbox that says until when.

use std::time::Duration;

use redress_core::{IdempotencyKey, JsonText, Timestamp};

/// The right to call a third party for a command.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// Of the row, and for the third party: of a settlement, that of its action.
    pub(crate) key: IdempotencyKey,
    pub(crate) request: JsonText,
    pub(crate) called_until: Timestamp,
    pub(crate) next: Next,
    /// Until its moment comes.
    pub(crate) rest: Duration,
}

/// What is to be done with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is the first call.
    Call,
    /// There may have been calls before.
    InquireThenCall,
    /// It is to be settled.
    Inquire,
}
