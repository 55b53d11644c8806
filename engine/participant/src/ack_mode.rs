//! When a message is acknowledged: before its handler, after its reply, or after its commit.
//!
//! The broker delivers a message again until it is acknowledged. So the moment of the acknowledgement, and nothing else,
//! decides what a crash costs:
//!
//! | mode | acknowledged | guarantee |
//! |---|---|---|
//! | [`BeforeHandling`](AckMode::BeforeHandling) | before it is handled | at most once |
//! | [`AfterReply`](AckMode::AfterReply) | once its reply is published | at least once |
//! | [`AfterCommit`](AckMode::AfterCommit) | after the commit of its effect, once the reply is published | exactly once, as to the effect |
//!
//! | mode | a crash of the service costs | a lost reply costs |
//! |---|---|---|
//! | before | the message, for good | there is none |
//! | after the reply | another run of the handler | another run of the handler |
//! | after the commit | another delivery, answered from memory | another attempt, answered from memory |
//!
//! | mode | the price, when all goes well | registered by |
//! |---|---|---|
//! | before | no stream, no reply, no database | [`listen`](Participant::listen), [without](Participant::listen_without_database) |
//! | after the reply | a stored message and a stored reply | [`handle_at_least_once`](Participant::handle_at_least_once) |
//! | after the commit | these, and a row of the inbox in the service's database | [`handle`](Participant::handle), and all others |
//!
//! A step says what it needs ([`Delivery`](redress_core::definition::Delivery)), and a program whose handler gives less
//! does not start. A handler may give more: at least once is still true of a handler behind an inbox.

use redress_core::definition::{Step, StepKind};

#[cfg(doc)]
use crate::participant::Participant;

/// The moment at which a message is acknowledged; see the [module](self) for what each costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckMode {
    /// Before it is handled: at most once.
    BeforeHandling,
    /// After its handler, once the reply is published: at least once.
    AfterReply,
    /// After the commit of its effect and of its answer: exactly once, as to the effect.
    AfterCommit,
}

impl AckMode {
    /// The guarantee that follows from it, as one word.
    pub const fn guarantee(self) -> &'static str {
        match self {
            Self::BeforeHandling => "at-most-once",
            Self::AfterReply => "at-least-once",
            Self::AfterCommit => "exactly-once",
        }
    }

    /// Returns true if a handler in this mode gives the step what it needs.
    pub const fn is_enough_for(self, step: &Step) -> bool {
        match self {
            Self::BeforeHandling => matches!(step.kind, StepKind::Notification),
            Self::AfterReply => !step.is_remembered() && !matches!(step.kind, StepKind::Notification),
            Self::AfterCommit => !matches!(step.kind, StepKind::Notification),
        }
    }
}
