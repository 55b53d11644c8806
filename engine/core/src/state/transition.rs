//! The moves that a step can make.
//!
//! [`Transition::is_legal`] is the one table of them, and [`StepState::move_to`](crate::state::StepState::move_to) the
//! one place where a step moves: each change that a decision makes goes through it. A move that the table does not have
//! comes of a bug of the engine, or of a row that no engine has written. It is not made: the decision comes to nothing,
//! and the saga stays as it was until an operator has looked.
//!
//! The table says more than `status` of a step does: a command that is sent again is a move from a pending command to
//! itself, and where a parked step may go depends on the command at which it is parked.

use std::fmt;

use crate::ids::Name;

macro_rules! progress_kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// The kinds of [`Progress`](crate::state::Progress), as far as a move depends on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProgressKind {
            $($(#[$doc])* $variant,)+
        }

        impl ProgressKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The kind in words.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

progress_kinds! {
    /// Not sent yet.
    Pending = "pending",
    /// Its action is pending.
    Action = "action",
    /// The settlement of its action is pending.
    Settlement = "settlement",
    /// Its compensation is pending.
    Compensation = "compensation",
    /// Its effect stands.
    Succeeded = "succeeded",
    /// The participant said no.
    Rejected = "rejected",
    /// It never happened and never will.
    Fenced = "fenced",
    /// Nobody can say whether it happened.
    InDoubt = "in doubt",
    /// Its condition did not hold.
    Skipped = "skipped",
    /// Its effect is undone.
    Compensated = "compensated",
    /// It waits for a time or an event.
    Waiting = "waiting",
    /// Its event did not come in time.
    TimedOut = "timed out",
    /// It is waited for no more.
    GivenUp = "given up",
    /// It is parked at its action.
    ParkedAction = "parked action",
    /// It is parked at the settlement of its action.
    ParkedSettlement = "parked settlement",
    /// It is parked at its compensation.
    ParkedCompensation = "parked compensation",
}

/// A move of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transition {
    /// Where it stood.
    pub from: ProgressKind,
    /// Where it stands now.
    pub to: ProgressKind,
}

impl Transition {
    /// Returns true if a step can make this move.
    pub const fn is_legal(self) -> bool {
        use ProgressKind::{
            Action, Compensated, Compensation, Fenced, GivenUp, InDoubt, ParkedAction, ParkedCompensation,
            ParkedSettlement, Pending, Rejected, Settlement, Skipped, Succeeded, TimedOut, Waiting,
        };
        match self.from {
            // A notification stands as soon as it is sent.
            Pending => matches!(self.to, Action | Succeeded | Skipped | Waiting),
            Waiting => matches!(self.to, Succeeded | TimedOut | GivenUp),
            Action => {
                // In doubt without a settlement: a step that is delivered at least once, and given up.
                matches!(
                    self.to,
                    Action | Settlement | Succeeded | Rejected | Fenced | InDoubt | ParkedAction
                )
            }
            Settlement => {
                matches!(self.to, Settlement | Succeeded | Rejected | Fenced | InDoubt | ParkedSettlement)
            }
            Compensation => matches!(self.to, Compensation | Compensated | ParkedCompensation),
            // Not by itself: if its participant has said two things, an operator says which is true. A retriable step
            // that did not happen after all is parked, and `retry` sends it anew.
            Succeeded => matches!(self.to, Compensation | Fenced | ParkedAction),
            Rejected | Fenced => matches!(self.to, Succeeded),
            InDoubt => matches!(self.to, Compensation),
            Skipped | Compensated | TimedOut | GivenUp => false,
            // The answer that was waited for in vain comes after all, or an operator acts.
            ParkedAction => {
                matches!(self.to, Action | Settlement | Succeeded | Rejected | Fenced | ParkedAction)
            }
            ParkedSettlement => matches!(self.to, Settlement | Succeeded | Rejected | Fenced),
            ParkedCompensation => matches!(self.to, Compensation | Compensated),
        }
    }

    /// All moves that a step can make.
    pub fn legal() -> impl Iterator<Item = Self> {
        let all = ProgressKind::ALL.iter();
        let pairs = all.flat_map(|from| ProgressKind::ALL.iter().map(|to| Self { from: *from, to: *to }));
        pairs.filter(|transition| transition.is_legal())
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from.as_str(), self.to.as_str())
    }
}

/// A move that no step can make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step `{step}` cannot move from `{}` to `{}`: the row was damaged, or the engine has a bug; nothing was changed, \
     compare the saga's state with its history, and report it if they agree",
    transition.from.as_str(), transition.to.as_str()
)]
pub struct IllegalTransition {
    /// The step.
    pub step: Name,
    /// The move.
    pub transition: Transition,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_makes_these_moves_and_no_other() {
        let mut table = String::new();
        for from in ProgressKind::ALL {
            let to = Transition::legal().filter(|transition| transition.from == *from);
            let to: Vec<&str> = to.map(|transition| transition.to.as_str()).collect();
            table.push_str(&format!("{}: {}\n", from.as_str(), to.join(", ")));
        }
        insta::assert_snapshot!(table, @r"
        pending: action, succeeded, skipped, waiting
        action: action, settlement, succeeded, rejected, fenced, in doubt, parked action
        settlement: settlement, succeeded, rejected, fenced, in doubt, parked settlement
        compensation: compensation, compensated, parked compensation
        succeeded: compensation, fenced, parked action
        rejected: succeeded
        fenced: succeeded
        in doubt: compensation
        skipped: 
        compensated: 
        waiting: succeeded, timed out, given up
        timed out: 
        given up: 
        parked action: action, settlement, succeeded, rejected, fenced, parked action
        parked settlement: settlement, succeeded, rejected, fenced
        parked compensation: compensation, compensated
        ");
    }
}
