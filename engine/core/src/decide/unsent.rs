//! Handles commands that did not reach a participant, for want of a broker.
//!
//! Only silence after a stored publish says anything about a participant. So a command that the broker did not store is
//! no attempt: it waits a moment and the *same* attempt goes out again, under the same message id. That is also right
//! if it is not known whether the broker stored it: a stored copy is answered, and the broker takes the second one for
//! a duplicate. A command that can never travel is told apart: it is refused at once, and with its reason.

use serde_json::json;

use crate::decide::event::{NotSent, Unsent};
use crate::decide::machine::Machine;
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::{Phase, Timestamp, after_ms};
use crate::retry::RetryPolicy;
use crate::state::{AttemptState, Cause, CauseKind, ParkCode, PendingCommand, Progress};

/// A pending command, and the purpose for which it is sent.
enum Asked {
    /// The saga's own course.
    Open(PendingCommand),
    /// The verification of a resolution.
    Verification(PendingCommand),
}

impl Machine<'_, '_> {
    /// A command is not known to be stored. Does nothing if it is closed, or was sent again since.
    pub(super) fn on_not_sent(&mut self, not_sent: &NotSent) {
        let Some((step_index, asked)) = self.asked_as(not_sent) else { return };
        let (pauses, reason) = match &not_sent.why {
            Unsent::Unknown { reason } => (RetryPolicy::NOT_SENT, reason),
            Unsent::Refused { reason } => (RetryPolicy::NOT_STORED, reason),
            Unsent::Unsendable { reason } => match asked {
                Asked::Open(pending) if pending.phase != Phase::Settlement => {
                    return self.unsendable(step_index, pending, reason);
                }
                // A settlement carries nothing; the obstacle may pass.
                Asked::Open(_) | Asked::Verification(_) => (RetryPolicy::NOT_STORED, reason),
            },
        };
        let jitter = self.ctx.jitter;
        match asked {
            Asked::Open(pending) => {
                let pause_ms = pauses.pause_ms(pending.unsent + 1, jitter);
                let pending = self.take_back(step_index, &pending, pause_ms, reason);
                self.move_step(step_index, Progress::Open(pending));
            }
            Asked::Verification(pending) => {
                let pause_ms = pauses.pause_ms(pending.unsent + 1, jitter);
                let pending = self.take_back(step_index, &pending, pause_ms, reason);
                self.keep_verifying(step_index, pending);
            }
        }
    }

    /// A command that was sent before this moment may be lost, or never have been sent: the broker was away or has lost
    /// its store, or the coordinator died. It is due at once, and the silence that followed counts for nothing.
    pub(super) fn on_may_be_lost(&mut self, asked_before: Timestamp) {
        let reason = "the broker was away after it was sent, or before: it may be lost";
        let is_over = self.state.is_ended();
        for step_index in 0..self.state.steps.len() {
            let may_be_lost = |pending: &&PendingCommand| {
                let asked_at = self.asked_at(step_index, pending);
                pending.attempt_state == AttemptState::Sent && asked_at.is_some_and(|at| at < asked_before)
            };
            let step_state = &self.state.steps[step_index];
            let open = step_state.open().filter(may_be_lost).filter(|_| !is_over).cloned();
            let verification = step_state.verification().filter(may_be_lost).cloned();
            if let Some(pending) = open {
                let pending = self.take_back(step_index, &pending, 0, reason);
                self.move_step(step_index, Progress::Open(pending));
            }
            if let Some(pending) = verification {
                let pending = self.take_back(step_index, &pending, 0, reason);
                self.keep_verifying(step_index, pending);
            }
        }
    }

    fn asked_as(&self, not_sent: &NotSent) -> Option<(usize, Asked)> {
        let (step_index, _) = self.ctx.definition.step(&not_sent.key.step)?;
        let step_state = &self.state.steps[step_index];
        let is_it = |pending: &&PendingCommand| {
            pending.phase == not_sent.key.phase
                && pending.attempt == not_sent.attempt
                && pending.attempt_state == AttemptState::Sent
                && step_state.generation == not_sent.key.generation
        };
        let is_over = self.state.is_ended();
        let open = step_state.open().filter(is_it).filter(|_| !is_over).cloned().map(Asked::Open);
        let verified = || step_state.verification().filter(is_it).cloned().map(Asked::Verification);
        Some((step_index, open.or_else(verified)?))
    }

    /// The time at which a pending command was sent last; meaningful only while its answer is awaited.
    fn asked_at(&self, step_index: usize, pending: &PendingCommand) -> Option<Timestamp> {
        let timeout_ms = i64::try_from(self.step(step_index).timeout_ms_of(pending.phase)).ok()?;
        pending.until.checked_sub_signed(chrono::TimeDelta::try_milliseconds(timeout_ms)?)
    }

    /// The attempt does not count: the next one has its number.
    fn take_back(
        &mut self,
        step_index: usize,
        pending: &PendingCommand,
        pause_ms: u64,
        reason: &str,
    ) -> PendingCommand {
        let pending = PendingCommand { unsent: pending.unsent + 1, ..pending.clone() };
        self.record_attempt(HistoryEvent::NotSent, step_index, &pending, &json!({ "reason": reason }));
        PendingCommand {
            attempt: pending.attempt.saturating_sub(1),
            attempt_state: AttemptState::Backoff,
            until: after_ms(self.ctx.now, pause_ms),
            ..pending
        }
    }

    /// An action that cannot be sent never happened, unless it was sent before: then that is settled.
    fn unsendable(&mut self, step_index: usize, pending: PendingCommand, reason: &str) {
        self.record_attempt(HistoryEvent::NotSent, step_index, &pending, &json!({ "reason": reason }));
        self.set_error(step_index, "unsendable", reason);
        let must_succeed = matches!(self.step(step_index).kind, StepKind::Retriable);
        if pending.phase == Phase::Compensation || must_succeed {
            let message = format!("its {} cannot be sent: {reason}", pending.phase);
            return self.park_step(step_index, pending, ParkCode::Refused, message);
        }
        if pending.attempt > 1 || pending.unsent > 0 {
            return self.settle(step_index);
        }
        self.close(step_index, Phase::Action, Progress::Fenced);
        self.fail_forward_or_continue_unwind(Cause {
            step: Some(self.step(step_index).name.clone()),
            kind: CauseKind::Fenced,
            code: "unsendable".to_owned(),
            message: format!("the step never happened; its command cannot be sent: {reason}"),
        });
    }
}
