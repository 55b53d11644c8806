//! Handlers that may run again, and listeners: what needs neither an inbox nor a database.
//!
//! ```
//! # use redress_core::Command;
//! # use redress_participant::{Answer, HandleAtLeastOnce, Participant, Received, ServeError, done};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Quote { grams: u32 }
//! # impl Command for Quote {
//! #     const SERVICE: &'static str = "prices";
//! #     const NAME: &'static str = "quote";
//! #     type Reply = Quoted;
//! # }
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Quoted { cents: u32 }
//! struct Prices;
//!
//! impl HandleAtLeastOnce<Quote> for Prices {
//!     /// Computes, and has no effect that a second run would double.
//!     async fn handle_at_least_once(&self, _: &Received, command: Quote) -> Answer<Quoted> {
//!         done(Quoted { cents: 300 + command.grams / 10 })
//!     }
//! }
//!
//! # async fn run(wire: redress_wire::Wire) -> Result<(), ServeError> {
//! let participant = Participant::new("prices").handle_at_least_once::<Quote>();
//! participant.serve_without_database(Prices, wire, std::future::pending()).await
//! # }
//! ```

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use redress_core::message::NotificationMessage;
use redress_core::{Command, CommandMessage, IdempotencyKey, JsonText, Name, Phase};

use crate::dispatch::{HandlerResult, packed_outcome};
use crate::handler::{Answer, HandlerError};

/// What came with a command, or with a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    key: IdempotencyKey,
    saga: Name,
    version: u32,
    attempt: u32,
    deliveries: u64,
    traceparent: Option<String>,
}

impl Received {
    /// What comes with the first attempt at the command with this key, of this saga: for the test of a handler.
    pub const fn first(key: IdempotencyKey, saga: Name, version: u32) -> Self {
        Self { key, saga, version, attempt: 1, deliveries: 1, traceparent: None }
    }

    pub(crate) fn of_command(command: &CommandMessage, deliveries: u64) -> Self {
        Self {
            key: command.key.clone(),
            saga: command.saga.clone(),
            version: command.version,
            attempt: command.attempt,
            deliveries,
            traceparent: command.traceparent.clone(),
        }
    }

    pub(crate) fn of_notification(notification: &NotificationMessage) -> Self {
        Self {
            key: IdempotencyKey {
                saga_id: notification.saga_id,
                step: notification.step.clone(),
                phase: Phase::Action,
                generation: 1,
            },
            saga: notification.saga.clone(),
            version: notification.version,
            attempt: 1,
            deliveries: 1,
            traceparent: notification.traceparent.clone(),
        }
    }

    /// The key of the command, the same each time that it comes: a third party that is called gets it, and knows the call
    /// again.
    pub const fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// The saga that sent it.
    pub const fn saga(&self) -> &Name {
        &self.saga
    }

    /// The version of that saga's definition.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The attempt that carries it, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How often this attempt was delivered, this time included.
    pub const fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Returns true if it was sent or delivered before, and so may have been handled before; false says nothing, since an
    /// attempt that was not answered may have been lost on its way.
    pub const fn may_have_come_before(&self) -> bool {
        self.attempt > 1 || self.deliveries > 1
    }

    /// The W3C trace context of the saga, if it has one.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }
}

/// Carries out the action `C`, once or more often: for what does no harm when it is done again.
///
/// Nobody remembers that it ran. Whatever it does it may do twice, for the same command and at the same time; a reply, or a
/// rejection, that it gave once may be another one the next time, and the first that arrives counts. If its saga turns back
/// while it has not answered, nobody undoes it. So it must be harmless to repeat and to leave standing: a computation, a
/// look-up, a write that sets what it sets. For everything else there is [`Handle`](crate::Handle), or
/// [`CallOut`](crate::CallOut).
///
/// An `Err` is answered `failed`, and the coordinator tries again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{C}` at least once",
    label = "no handler for this command",
    note = "write `impl HandleAtLeastOnce<{C}> for {Self}`"
)]
pub trait HandleAtLeastOnce<C: Command>: Send + Sync + 'static {
    /// Does it or says no.
    fn handle_at_least_once(
        &self,
        received: &Received,
        command: C,
    ) -> impl Future<Output = Answer<C::Reply>> + Send;
}

/// Hears the notification `C`, without a database: told once, heard at most once, never answered.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not listen to `{C}` without a database",
    label = "no listener for this notification",
    note = "write `impl ListenWithoutDatabase<{C}> for {Self}`"
)]
pub trait ListenWithoutDatabase<C: Command>: Send + Sync + 'static {
    /// Hears it; if this fails, the notification is lost.
    fn listen_without_database(
        &self,
        received: &Received,
        notification: C,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

pub(crate) type Repeating<'a> =
    Pin<Box<dyn Future<Output = Result<HandlerResult, HandlerError>> + Send + 'a>>;

/// The handler of one command, its type forgotten.
pub(crate) trait Repeats<S>: Send + Sync {
    fn run<'a>(&'a self, service: &'a S, received: &'a Received, payload: &'a JsonText) -> Repeating<'a>;
}

pub(crate) struct TypedRepeats<C>(pub(crate) PhantomData<fn() -> C>);

impl<C: Command, S: HandleAtLeastOnce<C>> Repeats<S> for TypedRepeats<C> {
    fn run<'a>(&'a self, service: &'a S, received: &'a Received, payload: &'a JsonText) -> Repeating<'a> {
        Box::pin(async move {
            let command: C = match payload.read() {
                Ok(command) => command,
                Err(error) => {
                    let reason = format!("the payload is no `{}`: {error}", C::NAME);
                    return Ok(HandlerResult::Unreadable(reason));
                }
            };
            packed_outcome(service.handle_at_least_once(received, command).await?)
        })
    }
}
