//! The clients that may ask, and how much they learn.

use std::fmt;

/// The clients that may ask.
#[derive(Clone)]
pub enum Access {
    /// Any client on this machine.
    Loopback,
    /// Any client that bears this token.
    Token(String),
}

/// Without the secret.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "Loopback",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// How much a request may learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Everything.
    Full,
    /// A probe of a stranger: one word.
    Stranger,
}
