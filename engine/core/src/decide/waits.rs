//! Shortens waits that have become too long because the journal's clock has stepped back.
//!
//! The end of a wait is stored as a time of the journal's clock. If that clock steps back by an hour, a pause of two
//! seconds would last an hour and two seconds. A wait that lies further ahead than its own policy allows was surely set
//! before such a step, and is measured anew from now: so no wait is ever longer than twice what its policy allows,
//! whatever the clock does. Deadlines, and the times until which a definition waits, are times of the clock: they stay what
//! they are.
//!
//! A step forward needs no rule: every wait is over at once, which costs each pending command one attempt. Silence
//! alone never decides an outcome; a deadline that has passed by that clock has passed. The time that a command was tried
//! ([`PendingCommand::tried_ms`]) is a sum of waits, so it holds of it as well: a step back adds nothing to it, and a step
//! forward no more than the one wait that it ends.

use crate::decide::machine::Machine;
use crate::ids::{Timestamp, after_ms};
use crate::retry::RetryPolicy;
use crate::state::{AttemptState, PendingCommand};

impl Machine<'_, '_> {
    /// Measures anew every wait that is longer than it can be.
    pub(super) fn shorten_waits(&mut self) {
        for step_index in 0..self.state.steps.len() {
            let step_state = &self.state.steps[step_index];
            let waiting = step_state.waits_until().and_then(|until| self.latest_end(step_index, until));
            let open = step_state.open().map(|pending| self.latest(step_index, pending));
            let verification = step_state.verification().map(|pending| self.latest(step_index, pending));
            let step_state = &mut self.state.steps[step_index];
            if let Some(latest) = open.or(waiting) {
                step_state.shorten_wait(latest);
            }
            let settlement =
                step_state.unverified.as_mut().and_then(|unverified| unverified.verification.as_mut());
            if let (Some(pending), Some(latest)) = (settlement, verification) {
                pending.until = pending.until.min(latest);
            }
        }
    }

    /// The latest time to which a command can wait that is sent now.
    fn latest(&self, step_index: usize, pending: &PendingCommand) -> Timestamp {
        let step = self.step(step_index);
        let longest_ms = match pending.attempt_state {
            AttemptState::Sent => step.timeout_ms_of(pending.phase),
            AttemptState::Awaiting => RetryPolicy::AWAITING.backoff_ms_max,
            AttemptState::Backoff if pending.unsent > 0 => RetryPolicy::NOT_STORED.backoff_ms_max,
            AttemptState::Backoff => step.retry_of(pending.phase).backoff_ms_max,
        };
        after_ms(self.ctx.now, longest_ms)
    }
}
