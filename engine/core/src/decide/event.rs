//! The arguments and the result of a decision.

use crate::decide::given::{EventVerdict, GivenEvent};
use crate::decide::operator::{OperatorCommand, Refusal};
use crate::definition::SagaDefinition;
use crate::fault::FaultBook;
use crate::history::HistoryEntry;
use crate::ids::{IdempotencyKey, Name, SagaId, Timestamp};
use crate::message::{CommandMessage, NotificationMessage, ReplyMessage};
use crate::state::{IllegalTransition, SagaState, Transition};

/// Everything that a decision may look at besides the saga.
#[derive(Debug)]
pub struct Context<'a> {
    /// The definition with which the saga was started.
    pub definition: &'a SagaDefinition,
    /// The saga.
    pub saga_id: SagaId,
    /// The journal's clock.
    pub now: Timestamp,
    /// A number in 0.0..=1.0 that spreads the pauses of this decision.
    pub jitter: f64,
    /// The standing faults; empty unless faults are allowed.
    pub faults: &'a mut FaultBook,
    /// W3C trace context of the start; later decisions use the one that was stored.
    pub traceparent: Option<String>,
}

/// An event of a saga.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A participant answered.
    Reply(ReplyMessage),
    /// `due_at` may have passed; harmless when it has not.
    TimerFired,
    /// A command is not known to be stored by the broker.
    NotSent(NotSent),
    /// A command that was sent before this moment may never have been stored by the broker, or be lost there.
    MayBeLost {
        /// The moment, by the journal's clock.
        asked_before: Timestamp,
    },
    /// An event from outside is given to the saga.
    Given(GivenEvent),
    /// No place stands before that of this step in the order of its key: a fact of the journal, which never ceases to hold.
    PlaceIsFirst {
        /// The step.
        step: Name,
    },
    /// An operator gives a command.
    Operator(OperatorCommand),
}

/// The result of a decision: the state to store and the messages to send.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a decision that is not stored did not happen"]
pub struct Decision {
    /// The saga from now on.
    pub state: SagaState,
    /// Commands to publish after the commit.
    pub commands: Vec<CommandMessage>,
    /// Notifications to send once after the commit, and never again.
    pub notifications: Vec<NotificationMessage>,
    /// Rows to append in the same transaction.
    pub history: Vec<HistoryEntry>,
    /// The moves that the steps made, in their order. Nothing depends on them: they are for checks.
    pub transitions: Vec<Transition>,
    /// The kind of the decision.
    pub effect: Effect,
}

/// The kind of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The state changed.
    Moved,
    /// Only the history grew: the event came late.
    Noted,
    /// Nothing to store. There may be a command to publish again: the one that a crash may have lost.
    Ignored,
    /// An operator command came too late or makes no sense here.
    Refused(Refusal),
    /// An event from outside was given; the state changed if the verdict [is new](EventVerdict::is_new).
    Given(EventVerdict),
    /// A participant took back what it had promised: keep a dead letter too.
    Contradiction,
    /// A step was to make a move that no step can make: a bug, or a row that no engine has written. The decision has
    /// neither messages nor history, and its state is of no use: keep the saga as it was, and look at it no more until
    /// an operator has.
    Illegal(IllegalTransition),
}

/// A command that was decided on and is not known to be stored by the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    /// The key of the command.
    pub key: IdempotencyKey,
    /// The attempt that should have carried it.
    pub attempt: u32,
    /// Why it is not.
    pub why: Unsent,
}

/// Why a command is not known to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The broker is away or did not say: it may be stored all the same.
    Unknown {
        /// The problem, for people.
        reason: String,
    },
    /// The broker refused it for now: its stream is full, say.
    Refused {
        /// The broker's words, for people.
        reason: String,
    },
    /// It can never travel: it is larger than any message may be.
    Unsendable {
        /// Why, for people.
        reason: String,
    },
}

impl Unsent {
    /// Why, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::Unknown { reason } | Self::Refused { reason } | Self::Unsendable { reason } => reason,
        }
    }
}
