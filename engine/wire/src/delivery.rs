//! One message, to be settled.
//!
//! An acknowledgement is a hint: it may be lost, and then the message comes again and the inbox or the journal
//! recognises it. So failures to acknowledge are only logged.
//!
//! Several messages may have travelled in one. That one is settled with the last of them; if any of them is to come again,
//! all do, after the longest pause that was asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use redress_core::Timestamp;

use crate::headers::Malformed;
use crate::stream_incarnation::StreamIncarnation;
use crate::unreadable::{self, StoredMessage};

/// A message that was delivered and waits to be settled.
pub struct Delivery<M> {
    /// The message, or the malformed one that came instead.
    pub message: Result<M, Malformed>,
    /// The number of its deliveries, this one included; from 1.
    pub deliveries: u64,
    /// When it was published, by the broker's clock, and how many waited behind it when it was handed out; unknown of one
    /// that was found.
    pub position: Option<Position>,
    /// Its size on the wire, in bytes.
    pub bytes: usize,
    pub(crate) handle: AckHandle,
}

/// The place of a message among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was published, by the broker's clock.
    pub published_at: Timestamp,
    /// Messages for the same consumer that had not been handed out.
    pub pending: u64,
}

/// The right to settle a message.
#[derive(Clone)]
pub struct AckHandle {
    pub(crate) means: Means,
    /// The incarnation of the stream from which it came; sequences start again in the next one.
    pub(crate) incarnation_number: u64,
    pub(crate) incarnation: Arc<StreamIncarnation>,
}

/// The way in which a message is settled.
#[derive(Clone)]
pub(crate) enum Means {
    /// It was delivered.
    Acker(Arc<Acker>),
    /// It was delivered in one message with others.
    Part(Arc<Part>),
    /// It was found in the stream, as it cannot be delivered, and is deleted from it.
    Stored(Arc<StoredMessage>),
}

/// One of the messages that travelled in one.
pub(crate) struct Part {
    whole: Arc<Whole>,
    is_settled: AtomicBool,
}

/// A message in which others travelled.
struct Whole {
    acker: Acker,
    unsettled: Mutex<Unsettled>,
}

/// What is left to be settled of a message.
struct Unsettled {
    parts: usize,
    /// The longest pause after which a part is to come again.
    pause: Option<Duration>,
}

/// The means to settle each of these `parts` of one message.
pub(crate) fn means(acker: Acker, parts: usize) -> Vec<Means> {
    if parts == 1 {
        return vec![Means::Acker(Arc::new(acker))];
    }
    let whole = Arc::new(Whole { acker, unsettled: Mutex::new(Unsettled { parts, pause: None }) });
    let part = || Part { whole: whole.clone(), is_settled: AtomicBool::new(false) };
    (0..parts).map(|_| Means::Part(Arc::new(part()))).collect()
}

impl Part {
    /// Notes what is to become of it; gives what is to become of the whole, if that is known now.
    fn settle(&self, kind: AckKind) -> Option<AckKind> {
        let pause = match kind {
            AckKind::Progress => return Some(AckKind::Progress),
            AckKind::Nak(pause) => Some(pause.unwrap_or_default()),
            AckKind::Ack | AckKind::Next | AckKind::Term => None,
        };
        if self.is_settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut unsettled = self.whole.unsettled.lock().expect("no thread panics while it counts");
        unsettled.pause = unsettled.pause.max(pause);
        unsettled.parts -= 1;
        let whole = || unsettled.pause.map_or(AckKind::Ack, |pause| AckKind::Nak(Some(pause)));
        (unsettled.parts == 0).then(whole)
    }
}

impl<M> Delivery<M> {
    /// The right to settle it, to be kept when the message is moved elsewhere.
    pub fn handle(&self) -> AckHandle {
        self.handle.clone()
    }

    /// Takes it apart.
    pub fn split(self) -> (Result<M, Malformed>, u64, AckHandle) {
        (self.message, self.deliveries, self.handle)
    }
}

impl AckHandle {
    /// It is done: never again.
    pub async fn ack(&self) {
        self.settle(AckKind::Ack).await;
    }

    /// Not now: again after `delay`.
    pub async fn nak(&self, delay: Duration) {
        self.settle(AckKind::Nak(Some(delay))).await;
    }

    /// Give it up: never again, though it was not done.
    pub async fn term(&self) {
        self.settle(AckKind::Term).await;
    }

    /// It is being worked on: wait longer.
    pub async fn in_progress(&self) {
        self.settle(AckKind::Progress).await;
    }

    async fn settle(&self, kind: AckKind) {
        let (acker, kind): (&Acker, AckKind) = match (&self.means, kind) {
            (Means::Acker(acker), kind) => (acker, kind),
            (Means::Part(part), kind) => match part.settle(kind) {
                Some(kind) => (&part.whole.acker, kind),
                None => return,
            },
            (Means::Stored(stored), AckKind::Ack | AckKind::Term) => return unreadable::delete(stored).await,
            // It stays where it is, and is found again.
            (Means::Stored(_), _) => return,
        };
        // An acknowledgement from an earlier incarnation of the stream could hit a new message.
        if !self.incarnation.is_current(self.incarnation_number) {
            return;
        }
        let result = match kind {
            AckKind::Ack => acker.ack().await,
            other => acker.ack_with(other).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "failed to acknowledge; the message will be redelivered");
        }
    }
}
