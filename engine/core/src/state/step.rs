//! The state of a step.

use serde::{Deserialize, Serialize};

use crate::ids::{Name, Phase, Timestamp};
use crate::json::JsonText;
use crate::state::command::{PendingCommand, is_zero};
use crate::state::optional_time;
use crate::state::park::ParkCode;
use crate::state::place::OrderPlace;
use crate::state::progress::Progress;
use crate::state::transition::{IllegalTransition, Transition};

/// A step of a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its name in the definition.
    pub name: Name,
    /// Where it stands; changes only by [`move_to`](Self::move_to).
    progress: Progress,
    /// 1, and one more when an operator re-opens it.
    #[serde(default = "first_generation", skip_serializing_if = "is_first_generation")]
    pub generation: u32,
    /// How often its action was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// How often its compensation was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compensation_attempts: u32,
    /// How often its settlement was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settlement_attempts: u32,
    /// When its action was first sent, or its wait began.
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it got its last final answer, or its wait was over.
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// The event that the step waits for, once it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<KeptEvent>,
    /// A reply or an event that could not be folded into the data: the closure failed, and a retry folds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfolded: Option<JsonText>,
    /// An operator's resolution, as long as no participant has told the same.
    #[serde(default, rename = "told", skip_serializing_if = "Option::is_none")]
    pub unverified: Option<UnverifiedResolution>,
    /// Its place in the order of its key, if it is ordered by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<OrderPlace>,
}

/// An operator's resolution of a step whose outcome was in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnverifiedResolution {
    /// The resolution.
    #[serde(rename = "finding")]
    pub resolution: ResolutionKind,
    /// The settlement that is sent until the participant tells its own outcome, so that no late command can take effect
    /// behind the operator's back. `None` for a compensation, of which no participant can be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<PendingCommand>,
}

/// The kinds of resolutions of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResolutionKind {
    /// The action took effect.
    Happened,
    /// The action did not take effect.
    NeverHappened,
    /// The action's effect was undone, outside of the saga.
    Compensated,
    /// Nothing is said of it: the saga was closed.
    Unknown,
}

/// An event that was given to a step. The first of its name counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEvent {
    /// The key of its sender.
    pub key: String,
    /// Its payload, until the step takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonText>,
}

/// An error of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// A stable word for programs: a rejection's code, or `failed`, `timed-out`, ...
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// A command that has its final answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredCommand {
    /// The step.
    pub step: Name,
    /// Compensation, or else action; a settlement closes the action that it asks about.
    pub phase: Phase,
    /// The step's generation.
    pub generation: u32,
}

const fn first_generation() -> u32 {
    1
}

/// Leaves the generation that nearly all steps have out of the stored form.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
const fn is_first_generation(generation: &u32) -> bool {
    *generation == first_generation()
}

impl StepState {
    /// A step that has not been sent.
    pub(crate) const fn new(name: Name) -> Self {
        Self {
            name,
            progress: Progress::Pending,
            generation: first_generation(),
            attempts: 0,
            compensation_attempts: 0,
            settlement_attempts: 0,
            started_at: None,
            ended_at: None,
            error: None,
            event: None,
            unfolded: None,
            unverified: None,
            place: None,
        }
    }

    /// Where it stands.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The step's status as one word: `queued` while it waits for those before it in the order of its key.
    pub fn status_word(&self) -> &'static str {
        match &self.place {
            Some(place) if place.is_waiting() && self.progress == Progress::Pending => "queued",
            Some(_) | None => self.progress.as_str(),
        }
    }

    /// Moves to where it stands from now on.
    ///
    /// # Errors
    /// [`IllegalTransition`] if no step moves from here to there; it stands where it stood then.
    pub fn move_to(&mut self, to: Progress) -> Result<Transition, IllegalTransition> {
        let transition = Transition { from: self.progress.kind(), to: to.kind() };
        if !transition.is_legal() {
            return Err(IllegalTransition { step: self.name.clone(), transition });
        }
        self.progress = to;
        Ok(transition)
    }

    /// Ends the wait of the pending command, or of the step itself, at this time at the latest.
    pub(crate) fn shorten_wait(&mut self, latest: Timestamp) {
        match &mut self.progress {
            Progress::Open(PendingCommand { until, .. }) | Progress::Waiting { until } => {
                *until = (*until).min(latest);
            }
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Compensated
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => {}
        }
    }

    /// The pending command, if there is one.
    pub const fn open(&self) -> Option<&PendingCommand> {
        match &self.progress {
            Progress::Open(pending) => Some(pending),
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => None,
        }
    }

    /// The end of its wait, if it sends nothing and waits.
    pub const fn waits_until(&self) -> Option<Timestamp> {
        match &self.progress {
            Progress::Waiting { until } => Some(*until),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Compensated
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => None,
        }
    }

    /// The command at which it is parked.
    pub const fn parked(&self) -> Option<(&PendingCommand, ParkCode)> {
        match &self.progress {
            Progress::Parked { pending, code } => Some((pending, *code)),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp => None,
        }
    }

    /// The pending verification of an operator's resolution.
    pub fn verification(&self) -> Option<&PendingCommand> {
        self.unverified.as_ref()?.verification.as_ref()
    }
}

impl ResolutionKind {
    /// The resolution as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::NeverHappened => "never-happened",
            Self::Compensated => "compensated",
            Self::Unknown => "unknown",
        }
    }
}
