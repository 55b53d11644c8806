//! How the answers of a batch are counted.

use redress_core::{CommandMessage, Outcome, Phase};

use super::Batch;
use crate::config::count;
use crate::dispatch::HandlerResult;

impl<S> Batch<'_, S> {
    pub(super) fn count_handled(&self, phase: Phase, ran: &HandlerResult) {
        match (phase, ran) {
            // Counted as a dead letter when it has become one.
            (_, HandlerResult::Unreadable(_)) => {}
            (_, HandlerResult::Failed(_)) => count(&self.stats.failed),
            (Phase::Settlement, _) => count(&self.stats.settled),
            (_, HandlerResult::Done(_)) => count(&self.stats.done),
            (_, HandlerResult::Rejected(_)) => count(&self.stats.rejected),
            (_, HandlerResult::Later) => count(&self.stats.accepted),
            (_, HandlerResult::Fenced) => count(&self.stats.fenced),
        }
    }

    pub(super) fn count_answer(&self, command: &CommandMessage, outcome: &Outcome, remembered: bool) {
        match (command.key.phase, outcome) {
            (_, Outcome::Expired) => count(&self.stats.expired),
            (Phase::Settlement, _) => count(&self.stats.settled),
            (Phase::Action, Outcome::Fenced) => count(&self.stats.fenced),
            (Phase::Compensation, Outcome::Done { .. }) if !remembered => {
                count(&self.stats.null_compensations)
            }
            (Phase::Action | Phase::Compensation, _) => count(&self.stats.duplicates),
        }
    }
}
