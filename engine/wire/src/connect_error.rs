//! The reasons why the broker cannot be used.

use thiserror::Error;

use crate::streams::StreamError;

/// The broker could not be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL is none.
    #[error(
        "the NATS URL is unusable; it looks like nats://user:password@host:4222, several with commas between"
    )]
    Url,
    /// One program signs in as one user.
    #[error(
        "the servers in the NATS URL have different credentials; give servers of one cluster, with the same ones"
    )]
    DifferentCredentials,
    /// No connection.
    #[error("no connection to the NATS server; check NATS_URL and that the server runs")]
    Connect(#[source] async_nats::ConnectError),
    /// The server is too old.
    #[error(
        "the NATS server is {found}; Redress needs 2.10 or newer, because older ones ignore what it asks for"
    )]
    TooOld {
        /// Its version.
        found: String,
    },
    /// JetStream is off.
    #[error("JetStream does not answer on this NATS server; start it with `-js`")]
    NoJetStream(#[source] async_nats::jetstream::context::AccountError),
    /// A stream cannot be made.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl ConnectError {
    /// Returns true if it may be otherwise in a moment, because the server is starting.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::NoJetStream(_) | Self::Stream(StreamError::Silent { .. }) => true,
            Self::Url
            | Self::DifferentCredentials
            | Self::TooOld { .. }
            | Self::Stream(
                StreamError::Refused { .. } | StreamError::Unfit { .. } | StreamError::Stranger { .. },
            ) => false,
        }
    }
}
