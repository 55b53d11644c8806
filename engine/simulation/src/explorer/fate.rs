//! The fates that a command may meet: what its business says, and what goes wrong with it.

use redress_core::inbox::Ruling;
use redress_core::{CommandMessage, Phase, Rejection};
use redress_testkit::fixtures::{answers_later, calls};
use redress_testkit::participants::Business;
use redress_testkit::world::World;

/// The fate of a command. Those up to [`Kept`](Self::Kept) are no disruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    CarriedOut,
    Rejected,
    /// Its answer comes later.
    Accepted,
    /// The service says that it cannot give up the action.
    Kept,
    Failed,
    RequestLost,
    ReplyLost,
    Delayed,
    Twice,
    Crash,
    NotStored,
    StoredInSilence,
    /// An operator cancels the saga while the command is under way.
    Cancelled,
    /// The call to the third party never arrives.
    CallLost,
    /// The call to the third party takes effect late, and is not answered.
    CallNotAnswered,
    /// The third party does not tell what became of a call.
    NotTold,
}

/// The disruptions that any command may meet.
const DISRUPTIONS: [Fate; 8] = [
    Fate::Failed,
    Fate::RequestLost,
    Fate::ReplyLost,
    Fate::Delayed,
    Fate::Twice,
    Fate::Crash,
    Fate::NotStored,
    Fate::StoredInSilence,
];

impl Fate {
    /// Returns true if a run may have only so many of them.
    pub(super) const fn is_disruption(self) -> bool {
        match self {
            Self::CarriedOut | Self::Rejected | Self::Accepted | Self::Kept => false,
            Self::Failed
            | Self::RequestLost
            | Self::ReplyLost
            | Self::Delayed
            | Self::Twice
            | Self::Crash
            | Self::NotStored
            | Self::StoredInSilence
            | Self::Cancelled
            | Self::CallLost
            | Self::CallNotAnswered
            | Self::NotTold => true,
        }
    }
}

/// The fates that a command may meet now.
pub(super) fn fates(world: &World<'_>, command: &CommandMessage, may_disrupt: bool) -> Vec<Fate> {
    let step = world.definition().step(&command.key.step);
    let is_retriable = step.is_none_or(|(_, step)| step.kind.as_str() == "retriable");
    let ruling = world.ruling(command);
    let mut fates = vec![Fate::CarriedOut];
    if matches!(ruling, Ruling::Run) && command.key.phase == Phase::Action && !is_retriable {
        fates.push(Fate::Rejected);
    }
    let runs = matches!(ruling, Ruling::Run | Ruling::UndoInDoubt { .. });
    if runs && answers_later(command) {
        fates.push(Fate::Accepted);
    }
    if matches!(ruling, Ruling::GiveUp) {
        fates.push(Fate::Kept);
    }
    if !may_disrupt {
        return fates;
    }
    fates.extend(DISRUPTIONS);
    if calls(command) && (runs || matches!(ruling, Ruling::Call { .. })) {
        fates.extend([Fate::CallLost, Fate::CallNotAnswered]);
    }
    if calls(command) && command.key.phase == Phase::Action {
        fates.push(Fate::Cancelled);
    }
    if matches!(ruling, Ruling::Inquire { .. }) {
        fates.push(Fate::NotTold);
    }
    fates
}

/// The word of the business if nothing goes wrong.
pub(super) fn honest(command: &CommandMessage) -> Business {
    match calls(command) {
        true => Business::Called { done: true, answered: true },
        false => Business::Done,
    }
}

/// The business "no".
pub(super) fn no() -> Rejection {
    Rejection::new("no", "no")
}
