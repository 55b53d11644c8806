//! The address of a coordinator, the secret that it asks for, and how long it is waited for.

use std::fmt;
use std::time::Duration;

/// How long a connection may take: longer than a busy machine takes, shorter than a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one answer may take: a coordinator whose database is away says so within it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request is repeated: a restart is bridged, and a wrong address is reported soon.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a saga is looked at that is waited for: about as often as a person would notice.
const POLL_EVERY: Duration = Duration::from_millis(300);

/// How a [`Client`](crate::Client) reaches its coordinator.
///
/// The fields may be set one by one; [`new`](Self::new) has the defaults.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Where the API is, such as `http://127.0.0.1:8080`; a path is kept, for a coordinator behind a proxy.
    pub base_url: String,
    /// The secret that the API asks for, if it does.
    pub token: Option<String>,
    /// How long a connection may take; 10 s.
    pub connect_timeout: Duration,
    /// How long one answer may take; 30 s.
    pub answer_timeout: Duration,
    /// How long a request that may be made twice is repeated while no answer comes; 2 s. One try is always made.
    pub patience: Duration,
    /// How often a saga is looked at that is waited for; 300 ms.
    pub poll_every: Duration,
}

impl ClientConfig {
    /// A coordinator at this address, which asks for no secret.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            token: None,
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            patience: PATIENCE,
            poll_every: POLL_EVERY,
        }
    }

    /// The same with the secret that the API asks for.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The same, repeating for so long a request that may be made twice.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Without the secret: configurations end up in logs.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("base_url", &self.base_url)
            .field("has_token", &self.token.is_some())
            .field("connect_timeout", &self.connect_timeout)
            .field("answer_timeout", &self.answer_timeout)
            .field("patience", &self.patience)
            .field("poll_every", &self.poll_every)
            .finish()
    }
}
