//! The senders of events from outside.
//!
//! Each event comes once: before its step, while the saga waits for it, when it has gone on without it, when it has turned
//! back or ended, or never. Its sender repeats it until a coordinator answers, and now and then once more, under the same key;
//! somebody else may send another one of the same name.

use redress_core::decide::GivenEvent;
use redress_core::{JsonText, SagaId};

use super::world::{EventToCome, Weather, World};

/// The latest time at which an event comes, in milliseconds: beyond the time for which it is waited for.
const COMES_MS_MAX: i64 = 240_000;
/// The pause before an event is sent once more, in milliseconds, at most.
const AGAIN_MS_MAX: i64 = 20_000;

impl World {
    /// A saga has begun: some of the events that it awaits will come.
    pub(super) fn expect_events(&mut self, id: SagaId) {
        let definition = self.journal.look(id, |row| row.and_then(|row| self.definition(&row.definition)));
        let steps = definition.into_iter().flat_map(|definition| &definition.steps);
        for step in steps.filter(|step| step.awaited_event().is_some()) {
            if self.rng.u8(..) < 32 {
                continue;
            }
            let payload = JsonText::of(&serde_json::json!({})).expect("an object becomes JSON");
            let event = GivenEvent { name: step.name.clone(), key: "first".to_owned(), payload };
            let due_ms = self.now_ms + self.rng.i64(0..COMES_MS_MAX);
            self.events.push(EventToCome { id, event, due_ms });
        }
    }

    /// The event whose time has come, if there is one.
    pub(super) fn next_event(&mut self) -> Option<EventToCome> {
        let now_ms = self.now_ms;
        let nth = self.events.iter().position(|event| event.due_ms <= now_ms)?;
        let event = self.events.swap_remove(nth);
        if self.strikes(48, "event sent by another") {
            let other = GivenEvent { key: "second".to_owned(), ..event.event.clone() };
            self.send_again(EventToCome { event: other, ..event.clone() });
        }
        Some(event)
    }

    /// An event was answered, or its coordinator is gone: it may come once more.
    pub(super) fn event_sent(&mut self, event: EventToCome, verdict: Option<&'static str>) {
        match verdict {
            Some(verdict) => {
                self.count(verdict);
                if self.weather == Weather::Storm && self.rng.u8(..) < 64 {
                    self.send_again(event);
                }
            }
            None => self.send_again(event),
        }
    }

    fn send_again(&mut self, event: EventToCome) {
        let due_ms = self.now_ms + self.rng.i64(1..AGAIN_MS_MAX);
        self.events.push(EventToCome { due_ms, ..event });
    }
}
