//! What operators may ask for, and when it is too late.
//!
//! An order either moves the saga and leaves a row with who and why, or it is refused and nothing changes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::decide::machine::{Course, Hold, Machine};
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::state::{
    Cause, CauseKind, Finding, ParkCode, ParkReason, Progress, Question, Status, Told, Turn, Unwinding,
};

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
            Verb::Resume => match self.hold {
                Some(Hold::Parked(_)) | None => Err(Refusal::NotPaused),
                Some(Hold::Paused) => {
                    self.record(HistoryEvent::Resumed, &who);
                    self.let_go();
                    Ok(())
                }
            },
        }
    }

    /// Goes on with everything that was held up.
    fn let_go(&mut self) {
        self.hold = None;
        self.advance();
        self.ask_due();
    }

    fn on_cancel(&mut self, order: &Order, who: &Value) -> Result<(), Refusal> {
        if matches!(self.course, Course::Back { .. }) {
            return Err(Refusal::AlreadyCompensating);
        }
        if self.pivot().is_some_and(|(_, progress)| *progress != Progress::Pending) {
            return Err(Refusal::PivotSent);
        }
        self.record(HistoryEvent::CancelRequested, who);
        // A closure that could not lead it on is in nobody's way on the way back.
        self.forget_reasons(|reason| reason.code == ParkCode::Definition);
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
            |reason: &ParkReason| !reason.code.is_of_its_step() && reason.step.as_ref().is_none_or(wanted);
        let asked_away: Vec<ParkReason> =
            self.reasons().iter().filter(|reason| is_asked_away(reason)).cloned().collect();
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

    /// Folds the reply whose closure failed; if it fails once more the saga is parked once more.
    fn fold_again(&mut self, reason: &ParkReason) {
        let place = self.state.steps.iter().position(|stepped| Some(&stepped.name) == reason.step.as_ref());
        if let Some(place) = place
            && let Some(answer) = self.state.steps[place].unfolded.clone()
        {
            self.fold(place, &answer);
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

    fn on_resolve(
        &mut self,
        step: &Name,
        resolution: &Resolution,
        order: &Order,
        mut who: Value,
    ) -> Result<(), Refusal> {
        let (place, _) = self.ctx.definition.step(step).ok_or(Refusal::UnknownStep)?;
        let doubt = self.doubt(place).ok_or(Refusal::NotInDoubt)?;
        match resolution {
            Resolution::Happened { reply } => {
                if !doubt.may_have_happened() {
                    return Err(Refusal::NotInDoubt);
                }
                reply.check_storable().map_err(|_| Refusal::ReplyDoesNotFit)?;
                let folded = self.step(place).fold_reply(&self.state.data, reply);
                let data = folded.map_err(|_| Refusal::ReplyDoesNotFit)?;
                who["finding"] = json!(Finding::Happened);
                who["reply"] = json!(reply);
                self.record_unsent(HistoryEvent::Resolved, step, Phase::Action, &who);
                self.state.data = data;
                self.settle_doubt(place, doubt, Progress::Succeeded, Finding::Happened);
                self.pass(place, Progress::Succeeded);
                self.plan_anew();
                self.advance();
            }
            Resolution::NeverHappened => {
                if !doubt.may_not_have_happened() {
                    return Err(Refusal::NotInDoubt);
                }
                if matches!(self.step(place).kind, StepKind::Retriable) {
                    return Err(Refusal::MustSucceed);
                }
                if self.pivot_decides_besides(place) {
                    return Err(Refusal::PivotSent);
                }
                who["finding"] = json!(Finding::NeverHappened);
                self.record_unsent(HistoryEvent::Resolved, step, Phase::Action, &who);
                self.settle_doubt(place, doubt, Progress::Fenced, Finding::NeverHappened);
                self.turn_or_go_on_back(Cause {
                    step: Some(step.clone()),
                    kind: CauseKind::Fenced,
                    code: "resolved".to_owned(),
                    message: format!("{} told that the step never happened: {}", order.actor, order.reason),
                });
            }
            Resolution::Compensated => {
                if !matches!(doubt, Doubt::Undoing) {
                    return Err(Refusal::NotInDoubt);
                }
                who["finding"] = json!(Finding::Compensated);
                self.record_unsent(HistoryEvent::Resolved, step, Phase::Compensation, &who);
                self.state.steps[place].told =
                    Some(Told { finding: Finding::Compensated, verification: None });
                self.undone(place);
            }
        }
        if self.hold.is_none() {
            self.ask_due();
        }
        Ok(())
    }

    /// Whether there may be no way back, whatever is told of this step: another one is the pivot, and has succeeded or
    /// may yet. One that was rejected or never happened has led back already.
    fn pivot_decides_besides(&self, place: usize) -> bool {
        self.pivot().is_some_and(|(pivot, progress)| {
            let may_succeed = matches!(progress, Progress::Open(_) | Progress::Parked { .. });
            pivot != place && (progress.is_passed() || may_succeed)
        })
    }

    /// What is in doubt about a step, if anything is.
    fn doubt(&self, place: usize) -> Option<Doubt> {
        let stepped = &self.state.steps[place];
        let asked = stepped.open().or_else(|| stepped.parked().map(|(question, _)| question));
        if let Some(question) = asked {
            let is_answered = matches!(stepped.parked(), Some((_, ParkCode::RetriableRejected)));
            return Some(match question.phase {
                Phase::Compensation => Doubt::Undoing,
                Phase::Action | Phase::Settlement if is_answered => Doubt::Contradicted { happened: false },
                Phase::Action | Phase::Settlement => Doubt::Unknown,
            });
        }
        if !self.reasons().iter().any(|reason| is_contradiction_of(reason, &stepped.name)) {
            return None;
        }
        match &stepped.progress {
            Progress::Succeeded => Some(Doubt::Contradicted { happened: true }),
            Progress::Rejected | Progress::Fenced => Some(Doubt::Contradicted { happened: false }),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Parked { .. } => None,
        }
    }

    fn settle_doubt(&mut self, place: usize, doubt: Doubt, progress: Progress, finding: Finding) {
        self.close(place, Phase::Action, progress);
        match doubt {
            Doubt::Unknown => self.verify(place, finding),
            // The participant has had its say.
            Doubt::Contradicted { .. } | Doubt::Undoing => {}
        }
        let name = self.state.steps[place].name.clone();
        self.forget_reasons(|reason| is_contradiction_of(reason, &name));
    }

    /// A step that turns out to stand after the plan was frozen belongs into it.
    fn plan_anew(&mut self) {
        if let Course::Back { unwinding, .. } = &mut self.course {
            *unwinding = Unwinding::Settling;
        }
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

fn is_contradiction_of(reason: &ParkReason, step: &Name) -> bool {
    reason.code == ParkCode::Contradiction && reason.step.as_ref() == Some(step)
}

/// What is in doubt about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Whether its action happened.
    Unknown,
    /// Its participant has answered, and then said the opposite, or what must not be.
    Contradicted { happened: bool },
    /// Whether its compensation was done.
    Undoing,
}

impl Doubt {
    const fn may_have_happened(self) -> bool {
        match self {
            Self::Unknown | Self::Contradicted { happened: false } => true,
            Self::Contradicted { happened: true } | Self::Undoing => false,
        }
    }

    const fn may_not_have_happened(self) -> bool {
        match self {
            Self::Unknown | Self::Contradicted { happened: true } => true,
            Self::Contradicted { happened: false } | Self::Undoing => false,
        }
    }
}
