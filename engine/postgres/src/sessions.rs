//! The owner of a connection's session.

/// The kind of sessions that connections have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Each connection has one of its own: settings may last as long as it does.
    Own,
    /// A pooler gives each transaction another one: settings end with the transaction.
    Shared,
}
