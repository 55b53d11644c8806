//! Events from outside: sent to the saga that waits for them, or to all open ones that bear a label.
//!
//! The saga's row says what became of an event, whichever coordinator heard of it: it is decided on under the row lock,
//! like an operator command, and written with what follows from it. A client that has no answer sends it again with the
//! same key, and no saga takes it twice. To several sagas it is sent one by one: one that refuses it, or that cannot be
//! decided on, hides no other.

use redress_core::decide::{Event, EventRefusal, EventVerdict, GivenEvent};
use redress_core::{Name, SagaDefinition, SagaId};
use serde::Serialize;
use thiserror::Error;

use crate::engine::{Engine, Parts};
use crate::for_caller::{Asked, Decided, Undecided, decide_for_caller, set_aside};
use crate::ports::{Bus, Clock, JournalError, JournalReads, OpenSaga, Rows};
use crate::start::is_key;
use crate::view::{Page, SagaView};

/// Sagas to which one request sends an event, at the most: few enough to be answered in a moment.
pub const EVENT_SAGAS_MAX: i64 = 50;

/// What a saga made of an event that it did not refuse.
#[derive(Clone, Debug, Serialize)]
pub struct SentEvent {
    /// `taken`, `kept` or `repeated`.
    pub verdict: &'static str,
    /// The saga as it is then.
    pub saga: SagaView,
}

/// What one of several sagas made of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// The saga.
    pub saga_id: SagaId,
    /// `taken`, `kept`, `repeated` or `refused`.
    pub verdict: &'static str,
    /// Why it was refused, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Why it was refused, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// An event could not be given; nothing has changed, unless an unavailable journal has kept it and could not say so: the same
/// event with the same key finds out.
#[derive(Debug, Error)]
pub enum EventError {
    /// The key is empty, too long or not printable.
    #[error("the idempotency key must have 1 to 255 visible ASCII characters")]
    InvalidKey,
    /// There is no such saga.
    #[error("there is no saga {0}")]
    NotFound(SagaId),
    /// The saga has no use for it.
    #[error("the event `{name}` for saga {}: {refusal}", saga.id)]
    Refused {
        /// The event's name.
        name: Name,
        /// The reason of the refusal.
        refusal: EventRefusal,
        /// The saga as it is.
        saga: Box<SagaView>,
    },
    /// Its definition is not known here.
    #[error("this coordinator does not know version {1} of saga `{0}`; ask one that does")]
    VersionNotHere(String, u32),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl<J: JournalReads, B: Bus, C: Clock> Engine<J, B, C> {
    /// Gives an event to a saga: it goes on if it waits for the event, keeps it if it will, and else refuses it.
    ///
    /// # Errors
    /// [`EventError`] gives the reason for a refusal, with the saga as it is.
    pub async fn send_event(&self, id: SagaId, event: GivenEvent) -> Result<SentEvent, EventError> {
        check_key(&event.key)?;
        let before = self.saga(id).await?.ok_or(EventError::NotFound(id))?;
        if self.definition(&before.saga, before.version).is_none() {
            return Err(EventError::VersionNotHere(before.saga, before.version));
        }
        let name = event.name.clone();
        let verdict = self.give_event(id, event).await?;
        let saga = self.saga(id).await?.ok_or(EventError::NotFound(id))?;
        match verdict {
            EventVerdict::Refused(refusal) => {
                Err(EventError::Refused { name, refusal, saga: Box::new(saga) })
            }
            verdict @ (EventVerdict::Taken | EventVerdict::Kept | EventVerdict::Repeated) => {
                Ok(SentEvent { verdict: verdict.as_str(), saga })
            }
        }
    }

    /// Gives an event to the open sagas that bear this label, name and value, and whose definition waits for events of this
    /// name: newest first, to [`EVENT_SAGAS_MAX`] with the label at the most, those after the saga `after`. `next` is the
    /// id to go on after.
    ///
    /// # Errors
    /// [`EventError`] if the key is unusable or the journal does not answer; sagas that have taken it by then have taken
    /// it, and the same event with the same key goes on.
    pub async fn send_event_by_tag(
        &self,
        tag: &(String, String),
        event: &GivenEvent,
        after: Option<SagaId>,
    ) -> Result<Page<Delivered>, EventError> {
        check_key(&event.key)?;
        let found = self.parts.decider.journal.open_with_tag(tag, after, EVENT_SAGAS_MAX).await?;
        let Rows { rows, more } = found;
        let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
        let mut items = Vec::new();
        for OpenSaga { id, saga, version } in rows {
            let verdict = match self.definition(&saga, version) {
                Some(definition) if !waits_for(definition, &event.name) => continue,
                Some(_) => self.give_event(id, event.clone()).await,
                None => Err(EventError::VersionNotHere(saga, version)),
            };
            items.extend(delivered(id, verdict)?);
        }
        Ok(Page { items, next, searched_back_to: None, unreadable: Vec::new() })
    }

    fn definition(&self, saga: &str, version: u32) -> Option<&SagaDefinition> {
        let name = Name::new(saga).ok()?;
        self.parts.decider.rules.registry.get(&name, version).map(|definition| &**definition)
    }

    /// Decides on it, in a task of its own.
    async fn give_event(&self, id: SagaId, event: GivenEvent) -> Result<EventVerdict, EventError> {
        let Parts { decider, publisher, tasks, config, .. } = &*self.parts;
        let asked = Asked { event: Event::Given(event), if_match: None, audit: None };
        let unit = decide_for_caller(decider.clone(), publisher.clone(), tasks.clone(), id, asked);
        let unit = tasks.spawn(unit);
        match unit.await.unwrap_or(Err(JournalError::Panicked))? {
            Ok(Decided { verdict: Some(verdict), .. }) => Ok(verdict),
            Err((Undecided::Newer(format), _)) => {
                Err(JournalError::Newer { id, format, known: config.state_format }.into())
            }
            Err((Undecided::Gone, _)) => Err(EventError::NotFound(id)),
            // No revision was asked for, and every decision on an event has a verdict.
            Ok(Decided { verdict: None, .. }) | Err((Undecided::SetAside | Undecided::Stale, _)) => {
                Err(set_aside(id).into())
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), EventError> {
    if is_key(key) { Ok(()) } else { Err(EventError::InvalidKey) }
}

fn waits_for(definition: &SagaDefinition, event: &Name) -> bool {
    definition.step(event).is_some_and(|(_, step)| step.awaited_event().is_some())
}

/// What a saga made of an event; nothing if it has gone meanwhile.
fn delivered(
    saga_id: SagaId,
    verdict: Result<EventVerdict, EventError>,
) -> Result<Option<Delivered>, JournalError> {
    let refused =
        |code, detail| Delivered { saga_id, verdict: "refused", code: Some(code), detail: Some(detail) };
    Ok(Some(match verdict {
        Ok(EventVerdict::Refused(refusal)) => refused(refusal.as_str(), refusal.to_string()),
        Ok(verdict) => Delivered { saga_id, verdict: verdict.as_str(), code: None, detail: None },
        Err(EventError::NotFound(_)) => return Ok(None),
        Err(error @ EventError::VersionNotHere(..)) => refused("version-not-here", error.to_string()),
        Err(EventError::Journal(error @ JournalError::Newer { .. })) => {
            refused("version-not-here", error.to_string())
        }
        Err(EventError::Journal(error)) if error.is_unavailable() => return Err(error),
        Err(error @ (EventError::Journal(_) | EventError::InvalidKey | EventError::Refused { .. })) => {
            refused("unreadable", error.to_string())
        }
    }))
}
