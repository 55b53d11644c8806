//! The command of a step that waits for its final answer.

use serde::{Deserialize, Serialize};

use crate::ids::{Phase, Timestamp, ms_between};
use crate::json::JsonText;
use crate::state::optional_time;
use crate::state::time;

/// A command that has no final answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingCommand {
    /// The phase.
    pub phase: Phase,
    /// The attempt that was sent last, from 1; 0 if none was. One that is not known to be stored by the broker does not
    /// count: the next one has its number.
    pub attempt: u32,
    /// The state of the attempt: sent, or waiting for its time.
    #[serde(rename = "turn")]
    pub attempt_state: AttemptState,
    /// When that ends.
    #[serde(with = "time")]
    pub until: Timestamp,
    /// The command's payload, the same in every attempt.
    pub payload: JsonText,
    /// Attempts that no longer count, because an operator asked for another try or the participant said that the answer
    /// comes later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgiven: u32,
    /// Attempts since then that were not answered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silent: u32,
    /// How long it was tried in vain since then, in milliseconds: its failed attempts and the pauses behind them. Stays 0
    /// if its policy has no limit in time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tried_ms: u64,
    /// How often in a row its next attempt was sent already and is not known to be stored by the broker.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unsent: u32,
    /// How often it was asked for an answer that was to come later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub asked_again: u32,
    /// When an answer that comes later is no longer waited for.
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub answer_by: Option<Timestamp>,
}

/// Where the attempts at a pending command stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// The command was sent, and the participant is to answer.
    #[serde(rename = "asked")]
    Sent,
    /// The next attempt waits for its time.
    Backoff,
    /// The participant has said that the answer comes later.
    Awaiting,
}

impl PendingCommand {
    /// A command that was not sent yet.
    pub(crate) const fn new(phase: Phase, payload: JsonText, now: Timestamp) -> Self {
        Self {
            phase,
            attempt: 0,
            attempt_state: AttemptState::Backoff,
            until: now,
            payload,
            forgiven: 0,
            silent: 0,
            tried_ms: 0,
            unsent: 0,
            asked_again: 0,
            answer_by: None,
        }
    }

    /// How many attempts were made since the last that was forgiven.
    pub(crate) const fn counted(&self) -> u32 {
        self.attempt.saturating_sub(self.forgiven)
    }

    /// How many of these count against the budget: of a compensation only those that were answered, since an undo that
    /// no participant takes has not failed.
    pub(crate) const fn spent(&self) -> u32 {
        match self.phase {
            Phase::Action | Phase::Settlement => self.counted(),
            Phase::Compensation => self.counted().saturating_sub(self.silent),
        }
    }

    /// The same command, to be sent as if it had not been sent before: all attempts so far are forgiven.
    pub(crate) fn forgiven(self) -> Self {
        Self { forgiven: self.attempt, silent: 0, tried_ms: 0, unsent: 0, ..self }
    }

    /// The same command, whose pause ends now: what was left of it was not waited.
    pub(crate) fn sent_early(self, now: Timestamp) -> Self {
        let left_ms = match self.attempt_state {
            // A pause for want of the broker was never counted.
            AttemptState::Backoff if self.unsent == 0 => ms_between(now, self.until),
            AttemptState::Backoff | AttemptState::Sent | AttemptState::Awaiting => 0,
        };
        Self { tried_ms: self.tried_ms.saturating_sub(left_ms), ..self }
    }
}

/// Leaves a count of nothing out of the stored form.
pub(super) fn is_zero<N: Default + PartialEq>(count: &N) -> bool {
    *count == N::default()
}
