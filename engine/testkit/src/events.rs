//! The events from outside in a story: unless something else is said, each that is awaited comes as soon as its step waits.

use redress_core::decide::{EventVerdict, GivenEvent};
use redress_core::{JsonText, Name, SagaDefinition};
use serde_json::Value;

/// The key of events of which nothing else is said.
pub(crate) const USUAL_KEY: &str = "the-first";

/// An event that waits for its moment.
#[derive(Clone, Debug)]
pub(crate) struct ScheduledEvent {
    /// The line of the run after which it is given.
    pub(crate) after: String,
    /// How long after it, in milliseconds.
    pub(crate) delay_ms: i64,
    pub(crate) step: Name,
    pub(crate) key: String,
}

/// The senders of a story's events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Senders {
    /// Steps whose events come as the story says, or never.
    told: Vec<Name>,
    scheduled: Vec<ScheduledEvent>,
}

impl Senders {
    /// No event comes for this step by itself.
    pub(crate) fn tell(&mut self, step: Name) {
        if !self.told.contains(&step) {
            self.told.push(step);
        }
    }

    /// An event comes at this moment, and no other by itself.
    pub(crate) fn schedule(&mut self, event: ScheduledEvent) {
        self.tell(event.step.clone());
        self.scheduled.push(event);
    }

    /// Adds the events of which nothing was said.
    pub(crate) fn complete(mut self, definition: &SagaDefinition) -> Self {
        for step in definition.steps.iter().filter(|step| step.awaited_event().is_some()) {
            if !self.told.contains(&step.name) {
                self.scheduled.push(ScheduledEvent {
                    after: format!("waiting action {}", step.name),
                    delay_ms: 0,
                    step: step.name.clone(),
                    key: USUAL_KEY.to_owned(),
                });
            }
        }
        self
    }

    /// Takes the events whose moment this line is.
    pub(crate) fn after(&mut self, line: &str) -> Vec<ScheduledEvent> {
        self.scheduled.extract_if(.., |event| line.starts_with(&event.after)).collect()
    }
}

impl ScheduledEvent {
    /// The event, with this payload.
    pub(crate) fn with(self, payload: &Value) -> GivenEvent {
        let payload = JsonText::of(payload).unwrap_or_else(|_| JsonText::null());
        GivenEvent { name: self.step, key: self.key, payload }
    }
}

/// The word for an event that was refused; `None` if it was not.
pub(crate) fn refusal(verdict: &EventVerdict) -> Option<&'static str> {
    match verdict {
        EventVerdict::Refused(refusal) => Some(refusal.as_str()),
        EventVerdict::Taken | EventVerdict::Kept | EventVerdict::Repeated => None,
    }
}
