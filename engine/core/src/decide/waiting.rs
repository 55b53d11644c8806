//! Waits for time to pass, and for events from outside.
//!
//! A step that waits sends nothing: its end stands in the state, and is the saga's due time. Whatever ends the wait finds
//! the step waiting or does nothing, so a timer that fires twice or before its time changes nothing. An event that
//! is decided before the timer counts, also if its time has passed by then: the state decides, not the clock.
//!
//! While a saga is held up the clock of a wait goes on, and what follows its end waits until the saga goes on. Events are
//! taken meanwhile, as answers are. A saga that turns back gives its waits up: nothing has happened that could be
//! settled or undone.
//!
//! Of each awaited name the first event counts, and its key is kept with the step. One that comes before its step is kept
//! there with its payload; so a step keeps one event at most, no larger than a message.

use serde::Serialize;
use serde_json::json;

use crate::decide::event::Effect;
use crate::decide::given::{EventRefusal, EventVerdict, GivenEvent};
use crate::decide::machine::Machine;
use crate::definition::ClosureError;
use crate::history::HistoryEvent;
use crate::ids::{Phase, Timestamp, after_ms, ms_between};
use crate::json::JsonText;
use crate::state::{Cause, CauseKind, Direction, KeptEvent, Progress};
use crate::waiting::{AwaitedEvent, OnTimeout};

/// The detail of the history row of an event.
#[derive(Serialize)]
struct Given<'a> {
    key: &'a str,
    event: &'a JsonText,
}

impl Machine<'_, '_> {
    /// Begins the wait of a step, unless it is over already.
    pub(super) fn begin_wait(&mut self, step_index: usize) -> Result<(), ClosureError> {
        let (step, now) = (self.step(step_index), self.ctx.now);
        let Some(until) = step.waits_until(&self.state.data, now)? else { return Ok(()) };
        self.state.steps[step_index].started_at = Some(now);
        self.record_unsent(HistoryEvent::Waiting, &step.name, Phase::Action, &json!({ "until": until }));
        self.move_step(step_index, Progress::Waiting { until });
        let kept = self.state.steps[step_index].event.as_mut().and_then(|event| {
            let payload = event.payload.take()?;
            Some((event.key.clone(), payload))
        });
        match kept {
            Some((key, payload)) => self.take_event(step_index, &key, &payload),
            None if step.awaited_event().is_none() && until <= now => {
                self.end_wait(step_index);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Ends every wait whose time is over, and goes on.
    pub(super) fn wake_due(&mut self) {
        let mut is_over = false;
        for step_index in 0..self.state.steps.len() {
            let is_due =
                matches!(self.progress(step_index), Progress::Waiting { until } if *until <= self.ctx.now);
            if !is_due || !self.state.hold.is_none() {
                continue;
            }
            is_over = true;
            match self.step(step_index).awaited_event() {
                None => self.end_wait(step_index),
                Some(event) => self.event_timed_out(step_index, event),
            }
        }
        if is_over {
            self.advance();
        }
    }

    fn end_wait(&mut self, step_index: usize) {
        let name = &self.step(step_index).name;
        self.record_unsent(HistoryEvent::Waited, name, Phase::Action, &json!({}));
        self.leave_wait(step_index, Progress::Succeeded);
    }

    fn event_timed_out(&mut self, step_index: usize, event: &AwaitedEvent) {
        let name = &self.step(step_index).name;
        let timeout_ms = event.timeout_ms;
        let message = format!("the event `{name}` did not come within {timeout_ms} ms");
        self.set_error(step_index, "timed-out", &message);
        let detail = json!({ "timeout_ms": timeout_ms, "then": event.on_timeout });
        self.record_unsent(HistoryEvent::TimedOut, name, Phase::Action, &detail);
        self.leave_wait(step_index, Progress::TimedOut);
        match event.on_timeout {
            OnTimeout::GoOn => {}
            OnTimeout::TurnBack => self.fail_forward_or_continue_unwind(Cause {
                step: Some(name.clone()),
                kind: CauseKind::TimedOut,
                code: "timed-out".to_owned(),
                message,
            }),
        }
    }

    /// Gives up all waits, for a saga that goes forward no more.
    pub(super) fn give_up_waits(&mut self) {
        let waiting: Vec<usize> = self.state.waits().map(|(step_index, _)| step_index).collect();
        for step_index in waiting {
            let name = &self.step(step_index).name;
            self.record_unsent(HistoryEvent::GivenUp, name, Phase::Action, &json!({}));
            self.leave_wait(step_index, Progress::GivenUp);
        }
    }

    fn leave_wait(&mut self, step_index: usize, progress: Progress) {
        self.state.steps[step_index].ended_at = Some(self.ctx.now);
        self.move_step(step_index, progress);
        self.pass(step_index);
    }

    /// Ends the wait of a step with its event. The event counts also if it cannot be folded: a retry folds it.
    fn take_event(&mut self, step_index: usize, key: &str, payload: &JsonText) -> Result<(), ClosureError> {
        let name = &self.step(step_index).name;
        let detail = Given { key, event: payload };
        self.record_unsent(HistoryEvent::EventTaken, name, Phase::Action, &detail);
        self.state.steps[step_index].event = Some(KeptEvent { key: key.to_owned(), payload: None });
        self.leave_wait(step_index, Progress::Succeeded);
        self.fold(step_index, payload)
    }

    /// An event from outside.
    pub(super) fn on_event(&mut self, event: &GivenEvent) -> Effect {
        let verdict = match self.take_or_keep(event) {
            Ok(verdict) => verdict,
            Err(refusal) => EventVerdict::Refused(refusal),
        };
        Effect::Given(verdict)
    }

    fn take_or_keep(&mut self, event: &GivenEvent) -> Result<EventVerdict, EventRefusal> {
        let (step_index, step) = self.ctx.definition.step(&event.name).ok_or(EventRefusal::NotAwaited)?;
        let payload = step.read_event(&event.payload).ok_or(EventRefusal::NotAwaited)?;
        let first = self.state.steps[step_index].event.as_ref();
        let is_repeated = first.is_some_and(|first| first.key == event.key);
        let is_another = first.is_some() && !is_repeated;
        match self.progress(step_index) {
            Progress::Succeeded if is_repeated => return Ok(EventVerdict::Repeated),
            Progress::Succeeded => return Err(EventRefusal::AlreadyGiven),
            Progress::TimedOut => return Err(EventRefusal::TimedOut),
            Progress::Skipped => return Err(EventRefusal::Skipped),
            Progress::Pending
            | Progress::Waiting { .. }
            | Progress::GivenUp
            | Progress::Open(_)
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Compensated
            | Progress::Parked { .. } => {}
        }
        match self.state.direction {
            Direction::Forward => {}
            Direction::Back { .. } => return Err(EventRefusal::TurnedBack),
            Direction::Ended(_) => return Err(EventRefusal::Ended),
        }
        if is_repeated {
            return Ok(EventVerdict::Repeated);
        }
        if is_another {
            return Err(EventRefusal::AlreadyGiven);
        }
        let payload = payload.map_err(EventRefusal::DoesNotFit)?;
        if !matches!(self.progress(step_index), Progress::Waiting { .. }) {
            let detail = Given { key: &event.key, event: &payload };
            self.record_unsent(HistoryEvent::EventKept, &step.name, Phase::Action, &detail);
            self.state.steps[step_index].event =
                Some(KeptEvent { key: event.key.clone(), payload: Some(payload) });
            return Ok(EventVerdict::Kept);
        }
        match self.take_event(step_index, &event.key, &payload) {
            Ok(()) => self.advance(),
            Err(error) => self.park_closure(&error),
        }
        Ok(EventVerdict::Taken)
    }

    /// The latest end of a step's wait that begins now at the latest; `None` if it waits for a time of the clock.
    pub(super) fn latest_end(&self, step_index: usize, until: Timestamp) -> Option<Timestamp> {
        let started_at = self.state.steps[step_index].started_at?;
        let length_ms = ms_between(started_at, until);
        self.step(step_index).waits_for_a_length().then(|| after_ms(self.ctx.now, length_ms))
    }
}
