//! A saga as people and programs see it over HTTP.

use redress_core::definition::Step;
use redress_core::state::{Cause, OrderPlace, ParkReason, Progress, SagaState, Status, StepError, StepState};
use redress_core::waiting::OnTimeout;
use redress_core::{JsonText, Name, SagaDefinition, SagaId, Timestamp};
use serde::Serialize;

use crate::ports::{Replied, SagaRow};

/// A saga as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct SagaView {
    /// Its id.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: String,
    /// Its definition's version.
    pub version: u32,
    /// Its status, as one word.
    pub status: &'static str,
    /// The number of its moves.
    pub revision: i64,
    /// The input as it was given, if it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<JsonText>,
    /// Its data now, if they are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<JsonText>,
    /// Labels.
    pub tags: serde_json::Value,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The time at which it goes on even if no reply comes.
    pub due_at: Option<Timestamp>,
    /// Why it turned back.
    pub cause: Option<Cause>,
    /// Why it is parked.
    pub parked: Option<ParkReason>,
    /// Further reasons that must be gone before it goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked_also: Vec<ParkReason>,
    /// True if it goes on by itself, but for longer than it should.
    pub stalled: bool,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// Steps whose replies are left out because there is too much of them; the history has them, page by page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replies_left_out: Vec<String>,
}

/// A step of a saga as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// `compensatable`, `pivot`, `retriable`, `notification`, `wait` or `event`; nothing if this coordinator does not know the definition.
    pub kind: Option<&'static str>,
    /// The participant.
    pub service: Option<String>,
    /// The command of its action.
    pub command: Option<String>,
    /// The guarantee with which its action is delivered: `exactly-once`, `at-least-once` or `at-most-once`.
    pub delivery: Option<&'static str>,
    /// The command of its compensation.
    pub compensation: Option<String>,
    /// Its status, as one word.
    pub status: &'static str,
    /// The number of attempts of its action.
    pub attempts: u32,
    /// The number of attempts of its compensation.
    pub compensation_attempts: u32,
    /// The number of attempts of its settlement.
    pub settlement_attempts: u32,
    /// The reply to its action, if there is one; nothing at all if replies are not wanted or this one is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Option<JsonText>>,
    /// Its last error.
    pub error: Option<StepError>,
    /// Where it waits in the order of its key, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<QueuedView>,
    /// What it waits for, if it sends nothing and waits at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaits: Option<AwaitsView>,
    /// True if the event for which it will wait has come already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub event_kept: bool,
    /// When its action was first sent, or its wait began.
    pub started_at: Option<Timestamp>,
    /// When it got its last final answer, or its wait was over.
    pub ended_at: Option<Timestamp>,
}

/// A step that waits for the sagas before it in the order of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueuedView {
    /// The key.
    pub key: String,
    /// When its saga came to the step.
    pub since: Timestamp,
    /// The saga that holds the key; nothing in a list, or if it has let go by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<SagaId>,
}

impl QueuedView {
    fn of(step: &StepState) -> Option<Self> {
        match step.place.as_ref()? {
            OrderPlace::Waiting { key, since } if *step.progress() == Progress::Pending => {
                Some(Self { key: key.clone(), since: *since, behind: None })
            }
            OrderPlace::Taken { .. }
            | OrderPlace::Waiting { .. }
            | OrderPlace::First { .. }
            | OrderPlace::LetGo => None,
        }
    }
}

/// What a step waits for: an event, or only its time.
#[derive(Clone, Debug, Serialize)]
pub struct AwaitsView {
    /// The name of the event; nothing for a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Name>,
    /// When the wait ends by itself.
    pub until: Timestamp,
    /// What follows if the event does not come by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,
    /// JSON Schema of the event; not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

impl AwaitsView {
    fn new(step: &StepState, until: Timestamp, defined: Option<&Step>, with_schema: bool) -> Self {
        let event = defined.and_then(|defined| Some((defined, defined.awaited_event()?)));
        Self {
            event: event.is_some().then(|| step.name.clone()),
            until,
            on_timeout: event.map(|(_, event)| event.on_timeout),
            schema: event.filter(|_| with_schema).map(|(defined, _)| defined.schemas.reply.clone()),
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// The items on it.
    pub items: Vec<T>,
    /// The beginning of the next one; nothing on the last page.
    pub next: Option<String>,
    /// Set if the page ended because it had looked at as many sagas as one page may, full or not: those that were started
    /// before this time were not looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched_back_to: Option<Timestamp>,
    /// The ids of rows that belong on it and cannot be read; the log says why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

impl SagaView {
    pub(crate) fn new(row: SagaRow, definition: Option<&SagaDefinition>, stalled_before: Timestamp) -> Self {
        let include = row.include;
        let steps = steps(&row.state, definition, include.replies.then_some(&row.replies));
        let left_out = row.replies.iter().filter(|(_, reply)| matches!(reply, Replied::LeftOut));
        let replies_left_out = left_out.map(|(step, _)| step.clone()).collect();
        let state = row.state;
        let stalled = match state.status() {
            Status::Running | Status::Compensating => {
                state.started_at < stalled_before && !state.is_awaiting()
            }
            Status::Parked | Status::Paused | Status::Completed | Status::Compensated | Status::Closed => {
                false
            }
        };
        Self {
            id: row.id,
            saga: row.saga,
            version: row.version,
            status: state.status_word(),
            revision: row.revision,
            input: include.input.then_some(row.input),
            tags: row.tags,
            started_at: state.started_at,
            ended_at: state.ended_at,
            due_at: state.due_at(),
            cause: state.cause().cloned(),
            parked: state.parked().cloned(),
            parked_also: state.parked_also().to_vec(),
            data: include.data.then_some(state.data),
            stalled,
            steps,
            replies_left_out,
        }
    }

    /// Returns true if it has ended or cannot go on by itself.
    pub fn rests(&self) -> bool {
        self.ended_at.is_some() || self.parked.is_some()
    }
}

fn steps(
    state: &SagaState,
    definition: Option<&SagaDefinition>,
    replies: Option<&Vec<(String, Replied)>>,
) -> Vec<StepView> {
    let waits: Vec<_> = state.waits().collect();
    let until = |index| waits.iter().find(|(waiting, _)| *waiting == index).map(|(_, until)| *until);
    state
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let defined = definition.and_then(|d| d.step(&step.name)).map(|(_, step)| step);
            // A step that sends nothing has neither service nor command.
            let sent = defined.filter(|d| d.kind.is_sent());
            StepView {
                name: step.name.to_string(),
                kind: defined.map(|d| d.kind.as_str()),
                service: sent.map(|d| d.service.to_string()),
                command: sent.map(|d| d.command.to_string()),
                delivery: defined.and_then(Step::guarantee),
                compensation: defined.and_then(|d| d.compensation()).map(|c| c.command.to_string()),
                status: step.status_word(),
                attempts: step.attempts,
                compensation_attempts: step.compensation_attempts,
                settlement_attempts: step.settlement_attempts,
                reply: replies.and_then(|replies| reply_of(&step.name, replies)),
                error: step.error.clone(),
                queued: QueuedView::of(step),
                awaits: until(index).map(|until| AwaitsView::new(step, until, defined, replies.is_some())),
                event_kept: step.event.as_ref().is_some_and(|event| event.payload.is_some()),
                started_at: step.started_at,
                ended_at: step.ended_at,
            }
        })
        .collect()
}

fn reply_of(step: &Name, replies: &[(String, Replied)]) -> Option<Option<JsonText>> {
    match replies.iter().find(|(name, _)| *step == *name.as_str()) {
        None => Some(None),
        Some((_, Replied::Said(reply))) => Some(Some(reply.clone())),
        Some((_, Replied::LeftOut)) => None,
    }
}
