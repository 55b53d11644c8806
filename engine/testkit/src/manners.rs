//! The manners of a story's participants: which steps they answer later, and which call a third party that does not answer.

use redress_core::inbox::Ruling;
use redress_core::{CommandMessage, Name, Phase};

use crate::participants::{Business, DisabledRule};

/// What became of a call to a third party that does not answer, and does not tell what it has done either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnansweredCall {
    /// It took effect.
    TookEffect,
    /// It never arrived.
    NeverArrived,
}

/// A command whose answer comes later.
#[derive(Clone, Debug)]
struct Later {
    step: Name,
    phase: Phase,
    delay_ms: i64,
}

/// How the participants of a story come to their answers; at once, if nothing else is said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    later: Vec<Later>,
    in_doubt: Vec<(Name, UnansweredCall)>,
}

impl Manners {
    pub(crate) fn answer_later(&mut self, step: Name, phase: Phase, delay_ms: i64) {
        self.later.push(Later { step, phase, delay_ms });
    }

    pub(crate) fn be_in_doubt(&mut self, step: Name, call: UnansweredCall) {
        self.in_doubt.push((step, call));
    }

    /// How long after this command its answer comes, in milliseconds; `None` if it comes at once, or was asked for before.
    pub(crate) fn delay_ms(
        &self,
        command: &CommandMessage,
        ruling: &Ruling,
        without: DisabledRule,
    ) -> Option<i64> {
        let is_it = |later: &&Later| (&later.step, later.phase) == (&command.key.step, command.key.phase);
        let asks = matches!(ruling, Ruling::Run | Ruling::UndoInDoubt { .. });
        let later = self.later.iter().find(is_it).filter(|_| asks && !without.ignores("answers-later"));
        later.map(|later| later.delay_ms)
    }

    /// The business of a step that calls a third party which does not answer.
    pub(crate) fn unanswered(&self, command: &CommandMessage, without: DisabledRule) -> Option<Business> {
        let is_ignored = without.ignores("in-doubt") || command.key.phase != Phase::Action;
        let called = self.in_doubt.iter().find(|(step, _)| *step == command.key.step);
        called.filter(|_| !is_ignored).map(|(_, call)| match call {
            UnansweredCall::TookEffect => Business::Called { done: true, answered: false },
            UnansweredCall::NeverArrived => Business::Called { done: false, answered: false },
        })
    }
}
