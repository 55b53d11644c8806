//! What operators may ask for, and when it is too late.
//!
//! An order either moves the saga and leaves a row with who and why, or it is refused and nothing changes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::decide::machine::{Course, Hold, Machine};
use crate::decide::resolve::Doubt;
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::state::{Cause, CauseKind, Finding, ParkCode, ParkReason, Progress, Question, Status, Turn};

/// Something that an operator wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub verb: Verb,
    /// Who.
    pub actor: String,
    /// Why, for people.
    pub reason: String,
}

/// What an operator may want of a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Turn back.
    Cancel,
    /// Try now what waits or is parked.
    Retry {
        /// Only this step; `None` for all.
        step: Option<Name>,
    },
    /// Take my word for what became of a step.
    Resolve {
        /// The step.
        step: Name,
        /// What became of it.
        resolution: Resolution,
    },
    /// End here; what is left is mine to clear up.
    Close,
    /// Send nothing more until `resume`.
    Pause,
    /// Go on after `pause`.
    Resume,
}

/// An operator's word on a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// Its action took effect.
    Happened {
        /// With this reply.
        reply: JsonText,
    },
    /// Its action took no effect.
    NeverHappened,
    /// What it did was undone outside of the saga.
    Compensated,
}

impl Verb {
    /// The word in HTTP, the audit log and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry { .. } => "retry",
            Self::Resolve { .. } => "resolve",
            Self::Close => "close",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $word:literal: $sentence:literal),+ $(,)?) => {
        /// Why an order is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $variant,)+
        }

        impl Refusal {
            /// A stable word for programs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What is in the way and what to do, for people.
            pub const fn explain(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

refusals! {
    /// The pivot was sent: it alone decides now.
    PivotSent = "pivot-sent": "its pivot was sent: it alone decides now, and there is no way back",
    /// The saga has ended.
    Ended = "ended": "it has ended, and an end has no way out",
    /// The saga is going back already.
    AlreadyCompensating = "already-compensating": "it is going back already",
    /// The saga is parked: there is nothing to pause.
    Parked = "parked": "it is parked: `retry`, `resolve` or `close` it",
    /// The saga is paused.
    Paused = "paused": "it is paused: `resume` it first",
    /// Only a paused saga can be resumed.
    NotPaused = "not-paused": "it is not paused",
    /// Only a saga that stands still can be closed.
    Moving = "moving": "it is going on by itself: `pause` it first",
    /// No step waits or is parked.
    NothingToRetry = "nothing-to-retry": "nothing in it waits or is parked; what was sent is being answered",
    /// There is no such step.
    UnknownStep = "unknown-step": "its definition has no step of this name",
    /// The step's outcome is not in doubt.
    NotInDoubt = "not-in-doubt": "what became of this step is not in doubt",
    /// Steps after the pivot were sent.
    BeyondPivot = "beyond-pivot": "steps after its pivot were sent, which have no way back: `retry` or `close` it",
    /// What its pivot has decided comes too late.
    UndoneAlready = "undone-already": "what its pivot rests on does not stand any more: `close` it, and clear up the rest",
    /// The participant of a retriable step has said both.
    Contradicted = "contradicted": "its participant says both that it happened and that it did not: `resolve` it",
    /// A retriable step must succeed.
    MustSucceed = "must-succeed": "a retriable step must succeed: `retry` it, or do it by hand and say that it happened",
    /// The reply is not one of this step.
    ReplyDoesNotFit = "reply-does-not-fit": "the reply does not fit the reply type of this step",
}

impl Machine<'_, '_> {
    pub(super) fn on_order(&mut self, order: &Order) -> Result<(), Refusal> {
        if matches!(self.course, Course::Over(_)) {
            return Err(Refusal::Ended);
        }
        let who = json!({ "actor": order.actor, "reason": order.reason });
        match &order.verb {
            Verb::Cancel => self.on_cancel(order, &who),
            Verb::Retry { step } => self.on_retry(step.as_ref(), &who),
            Verb::Resolve { step, resolution } => self.on_resolve(step, resolution, order, who),
            Verb::Close => self.on_close(order, &who),
            Verb::Pause => match self.hold {
                Some(Hold::Parked(_)) => Err(Refusal::Parked),
                Some(Hold::Paused) => Err(Refusal::Paused),
                None => {
                    self.record(HistoryEvent::Paused, &who);
                    self.hold = Some(Hold::Paused);
                    Ok(())
                }
            },
            Verb::Resume => self.on_resume(&who),
        }
    }

    /// Goes on with everything that was held up; what is parked as well stays parked, and is no longer paused.
    fn on_resume(&mut self, who: &Value) -> Result<(), Refusal> {
        let is_pause = |reason: &ParkReason| reason.code == ParkCode::Paused;
        match &self.hold {
            Some(Hold::Parked(reasons)) if reasons.iter().any(is_pause) => {
                self.record(HistoryEvent::Resumed, who);
                self.forget_reasons(is_pause);
            }
            Some(Hold::Parked(_)) | None => return Err(Refusal::NotPaused),
            Some(Hold::Paused) => {
                self.record(HistoryEvent::Resumed, who);
                self.hold = None;
                self.advance();
                self.ask_due();
            }
        }
        Ok(())
    }

    fn on_cancel(&mut self, order: &Order, who: &Value) -> Result<(), Refusal> {
        if matches!(self.course, Course::Back { .. }) {
            return Err(Refusal::AlreadyCompensating);
        }
        if self.pivot().is_some_and(|(_, progress)| *progress != Progress::Pending) {
            return Err(Refusal::PivotSent);
        }
        self.record(HistoryEvent::CancelRequested, who);
        self.turn_back(Cause {
            step: None,
            kind: CauseKind::Cancelled,
            code: "cancelled".to_owned(),
            message: format!("{}: {}", order.actor, order.reason),
        });
        Ok(())
    }

    fn on_retry(&mut self, step: Option<&Name>, who: &Value) -> Result<(), Refusal> {
        if let Some(name) = step
            && self.ctx.definition.step(name).is_none()
        {
            return Err(Refusal::UnknownStep);
        }
        let is_parked = match &self.hold {
            Some(Hold::Paused) => return Err(Refusal::Paused),
            Some(Hold::Parked(_)) => true,
            None => false,
        };
        let wanted = |name: &Name| step.is_none_or(|step| step == name);
        let is_asked_away =
            |reason: &ParkReason| reason.code.is_asked_away() && reason.step.as_ref().is_none_or(wanted);
        let asked_away: Vec<ParkReason> =
            self.reasons().iter().filter(|reason| is_asked_away(reason)).cloned().collect();
        if asked_away.iter().any(|reason| self.must_be_resolved(reason)) {
            return Err(Refusal::Contradicted);
        }
        let steps = self.state.steps.iter().enumerate();
        let due = steps.filter(|(_, stepped)| {
            wanted(&stepped.name)
                && match is_parked {
                    true => stepped.parked().is_some(),
                    false => stepped.open().is_some_and(|question| question.turn == Turn::Backoff),
                }
        });
        let places: Vec<usize> = due.map(|(place, _)| place).collect();
        if places.is_empty() && asked_away.is_empty() {
            return Err(Refusal::NothingToRetry);
        }
        self.record(HistoryEvent::RetryRequested, who);
        self.forget_reasons(is_asked_away);
        for place in places {
            self.reopen(place);
        }
        for reason in asked_away.iter().filter(|reason| reason.code == ParkCode::Definition) {
            self.fold_again(reason);
        }
        self.advance();
        if self.hold.is_none() {
            self.ask_due();
        }
        Ok(())
    }

    /// Whether nobody may go on as if this had not been said: a step that must succeed would be taken for done without
    /// its effect, or asked for a second one.
    fn must_be_resolved(&self, reason: &ParkReason) -> bool {
        let step = reason.step.as_ref().and_then(|name| self.ctx.definition.step(name));
        let is_retriable = step.is_some_and(|(_, step)| matches!(step.kind, StepKind::Retriable));
        reason.code == ParkCode::Contradiction && is_retriable
    }

    /// Folds the reply whose closure failed; if it fails once more the saga is parked once more.
    fn fold_again(&mut self, reason: &ParkReason) {
        let place = self.state.steps.iter().position(|stepped| Some(&stepped.name) == reason.step.as_ref());
        if let Some(place) = place
            && let Some(answer) = self.state.steps[place].unfolded.clone()
            && let Err(error) = self.fold(place, &answer)
            && matches!(self.course, Course::Forward)
        {
            self.park_closure(&error);
        }
    }

    /// Asks a step again. If its answer was final the question is a new one, under a key of its own.
    fn reopen(&mut self, place: usize) {
        let stepped = &mut self.state.steps[place];
        let question = match stepped.progress.clone() {
            Progress::Open(question) => question,
            Progress::Parked { code: ParkCode::RetriableRejected, .. } => {
                stepped.generation += 1;
                stepped.attempts = 0;
                stepped.settlement_attempts = 0;
                stepped.started_at = None;
                stepped.error = None;
                match self.step(place).action_payload(&self.state.data) {
                    Ok(payload) => Question::new(Phase::Action, payload, self.ctx.now),
                    Err(error) => return self.park_closure(&error),
                }
            }
            // On the way back nothing is done any more: what became of it is asked.
            Progress::Parked { question: Question { phase: Phase::Action, .. }, .. }
                if matches!(self.course, Course::Back { .. }) =>
            {
                self.release(place);
                return self.settle(place);
            }
            // The same question with the same bytes; the attempts made so far are forgiven.
            Progress::Parked { question, .. } => Question { forgiven: question.attempt, ..question },
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::Skipped
            | Progress::Compensated => return,
        };
        let waiting = Question { turn: Turn::Backoff, until: self.ctx.now, ..question };
        self.state.steps[place].progress = Progress::Open(waiting.clone());
        self.release(place);
        self.ask(place, waiting);
    }

    fn on_close(&mut self, order: &Order, who: &Value) -> Result<(), Refusal> {
        if self.hold.is_none() {
            return Err(Refusal::Moving);
        }
        self.record(HistoryEvent::Closed, who);
        let in_doubt: Vec<usize> = (0..self.state.steps.len())
            .filter(|place| matches!(self.doubt(*place), Some(Doubt::Unknown)))
            .filter(|place| self.state.steps[*place].attempts > 0)
            .collect();
        for place in in_doubt {
            self.verify(place, Finding::Unknown);
        }
        let cause = match &self.course {
            Course::Back { cause, .. } => Some(cause.clone()),
            Course::Forward | Course::Over(_) => None,
        };
        self.hold = None;
        self.state.ended_at = Some(self.ctx.now);
        let (actor, reason) = (order.actor.clone(), order.reason.clone());
        self.course = Course::Over(Status::Closed { actor, reason, cause });
        Ok(())
    }
}
