//! The deliveries that participants saw: the other side of a run, which the saga's own account does not know.

use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, IdempotencyKey, Phase, Timestamp};

/// A message that came to a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The command's key; a notification has that of its step's action.
    pub key: IdempotencyKey,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it came.
    pub at: Timestamp,
    /// True if the inbox ruled on it; if not, the participant died or failed before.
    pub handled: bool,
    /// When the answer left; `None` if there was none.
    pub answered_at: Option<Timestamp>,
}

impl Delivery {
    pub(crate) fn of(command: &CommandMessage, at: Timestamp) -> Self {
        Self { key: command.key.clone(), attempt: command.attempt, at, handled: false, answered_at: None }
    }

    pub(crate) fn notified(notification: &NotificationMessage, at: Timestamp) -> Self {
        let key = IdempotencyKey {
            saga_id: notification.saga_id,
            step: notification.step.clone(),
            phase: Phase::Action,
            generation: 1,
        };
        Self { key, attempt: 1, at, handled: true, answered_at: None }
    }

    pub(crate) fn handled(self) -> Self {
        Self { handled: true, ..self }
    }

    pub(crate) fn answered(self, at: Timestamp) -> Self {
        Self { answered_at: Some(at), ..self }
    }
}
