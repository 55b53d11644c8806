//! An event, sent over HTTP to the saga that awaits it, or to all open sagas that bear a label.
//!
//! The key is fixed before anything is sent, and every try bears it: a saga takes an event once, so that a request whose
//! answer was lost is made again without harm.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use redress_core::SagaId;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use crate::call::Call;
use crate::client::Client;
use crate::error::ClientError;
use crate::event_view::{Delivered, SentEvent};
use crate::transport::Repeat;

/// An event could not be sent.
#[derive(Debug, Error)]
pub enum SendEventError {
    /// It cannot be written as JSON; nothing was sent.
    #[error("the event `{name}` cannot be written as JSON ({problem}): its type's `Serialize` says why")]
    Unwritable {
        /// The event's name.
        name: String,
        /// The reason.
        problem: String,
    },
    /// It was refused, or it is not known whether it was taken.
    #[error(
        "the event with key `{key}` was not confirmed: once the cause is gone, send it again with the same key"
    )]
    Request {
        /// The key: the same event with it is taken once.
        key: String,
        /// The cause.
        source: ClientError,
    },
}

/// The parts of an event that do not say for whom it is.
struct Parts {
    client: Client,
    name: String,
    data: Result<Value, SendEventError>,
    key: String,
    deadline: Option<Instant>,
}

impl Parts {
    fn new(client: Client, name: &str, event: &(impl Serialize + ?Sized)) -> Self {
        let data = serde_json::to_value(event).map_err(|problem| SendEventError::Unwritable {
            name: name.to_owned(),
            problem: problem.to_string(),
        });
        Self { client, name: name.to_owned(), data, key: Uuid::now_v7().to_string(), deadline: None }
    }

    fn repeat(&self) -> Repeat {
        self.deadline.map_or(Repeat::For(self.client.patience()), Repeat::Until)
    }
}

/// An event for one saga in the making; await it.
#[must_use = "an event is sent when this is awaited"]
pub struct SendEvent {
    id: SagaId,
    parts: Parts,
}

/// An event for all sagas with a label in the making; await it.
#[must_use = "an event is sent when this is awaited"]
pub struct SendEventByTag {
    tag: String,
    parts: Parts,
}

impl Client {
    /// An event for a saga; nothing is sent until it is awaited.
    ///
    /// `event` is of the type that the saga awaits under this name, or any other that is written as the same JSON. One
    /// that comes before its step is kept for it.
    ///
    /// ```no_run
    /// # use redress_client::{Client, SagaId};
    /// # #[derive(serde::Serialize)] struct Approval { by: String }
    /// # async fn approve(client: Client, id: SagaId) -> Result<(), Box<dyn std::error::Error>> {
    /// let approval = Approval { by: "ann".to_owned() };
    /// let sent = client.send_event(id, "approval", &approval).key("form-17").await?;
    /// println!("{}", sent.verdict);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_event<E: Serialize + ?Sized>(&self, id: SagaId, name: &str, event: &E) -> SendEvent {
        SendEvent { id, parts: Parts::new(self.clone(), name, event) }
    }

    /// An event for every open saga that bears this label, as `name:value`, and whose definition awaits events of this
    /// name; nothing is sent until it is awaited.
    pub fn send_event_by_tag<E: Serialize + ?Sized>(
        &self,
        tag: impl Into<String>,
        name: &str,
        event: &E,
    ) -> SendEventByTag {
        SendEventByTag { tag: tag.into(), parts: Parts::new(self.clone(), name, event) }
    }
}

macro_rules! settings {
    ($($event:ident),+) => {$(
        impl $event {
            /// The idempotency key, 1 to 255 visible ASCII characters: a saga takes an event with the same key once. A new
            /// one if not given.
            pub fn key(mut self, key: impl Into<String>) -> Self {
                self.parts.key = key.into();
                self
            }

            /// The key that the event will bear: to be written down before it is sent, by a caller that may die.
            pub fn idempotency_key(&self) -> &str {
                &self.parts.key
            }

            /// Repeats it for so long while no answer comes, instead of for the client's patience.
            pub fn within(mut self, limit: Duration) -> Self {
                self.parts.deadline = Instant::now().checked_add(limit);
                self
            }
        }
    )+};
}

settings!(SendEvent, SendEventByTag);

impl SendEvent {
    async fn send(self) -> Result<SentEvent, SendEventError> {
        let repeat = self.parts.repeat();
        let Parts { client, name, data, key, .. } = self.parts;
        let call = Call::event(self.id, &name, &key, data?);
        let sent = client.ask(&call, repeat, |_| {}).await;
        sent.map_err(|source| SendEventError::Request { key, source })
    }
}

impl SendEventByTag {
    /// Page by page: a saga to which it came in vain hides no other.
    async fn send(self) -> Result<Vec<Delivered>, SendEventError> {
        let repeat = self.parts.repeat();
        let Parts { client, name, data, key, .. } = self.parts;
        let (data, mut all, mut cursor) = (data?, Vec::new(), None::<String>);
        loop {
            let call = Call::event_by_tag(&self.tag, &name, &key, data.clone(), cursor.as_deref());
            match client.ask(&call, repeat, |_| {}).await {
                Ok(page) => {
                    all.extend(page.items);
                    cursor = page.next;
                }
                Err(source) => return Err(SendEventError::Request { key, source }),
            }
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }
}

impl IntoFuture for SendEvent {
    type Output = Result<SentEvent, SendEventError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl IntoFuture for SendEventByTag {
    type Output = Result<Vec<Delivered>, SendEventError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
