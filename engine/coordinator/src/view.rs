//! A saga as people and programs see it over HTTP.

use redress_core::state::{Cause, ParkReason, SagaState, Status, StepError};
use redress_core::{JsonText, SagaDefinition, SagaId, Timestamp};
use serde::Serialize;

use crate::journal::SagaRow;

/// A saga as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct SagaView {
    /// Its id.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: String,
    /// Its definition's version.
    pub version: u32,
    /// Where it stands, as one word.
    pub status: &'static str,
    /// How often it has moved.
    pub revision: i64,
    /// The input as it was given.
    pub input: JsonText,
    /// Its data now.
    pub data: JsonText,
    /// Labels.
    pub tags: serde_json::Value,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When something happens even if no reply comes.
    pub due_at: Option<Timestamp>,
    /// Why it turned back.
    pub cause: Option<Cause>,
    /// Why it is parked.
    pub parked: Option<ParkReason>,
    /// What else must be gone before it goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked_also: Vec<ParkReason>,
    /// Whether it goes on by itself, but for longer than it should.
    pub stalled: bool,
    /// Its steps.
    pub steps: Vec<StepView>,
}

/// A step of a saga as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// `compensatable`, `pivot` or `retriable`; nothing if this coordinator does not know the definition.
    pub kind: Option<&'static str>,
    /// The participant.
    pub service: Option<String>,
    /// The command of its action.
    pub command: Option<String>,
    /// The command of its compensation.
    pub compensation: Option<String>,
    /// Where it stands, as one word.
    pub status: &'static str,
    /// How often its action was sent.
    pub attempts: u32,
    /// How often its compensation was sent.
    pub compensation_attempts: u32,
    /// How often its settlement was sent.
    pub settlement_attempts: u32,
    /// The reply to its action.
    pub reply: Option<JsonText>,
    /// What went wrong last.
    pub error: Option<StepError>,
    /// When its action was first sent.
    pub started_at: Option<Timestamp>,
    /// When it got its last final answer.
    pub ended_at: Option<Timestamp>,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; nothing on the last page.
    pub next: Option<String>,
    /// What belongs on it and cannot be read, by id; the log says why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

impl SagaView {
    pub(crate) fn new(row: SagaRow, definition: Option<&SagaDefinition>, stalled_before: Timestamp) -> Self {
        let steps = steps(&row.state, definition, &row.replies);
        let state = row.state;
        let stalled = match &state.status {
            Status::Running | Status::Compensating { .. } => state.started_at < stalled_before,
            Status::Parked { .. }
            | Status::Paused { .. }
            | Status::Completed
            | Status::Compensated { .. }
            | Status::Closed { .. } => false,
        };
        Self {
            id: row.id,
            saga: row.saga,
            version: row.version,
            status: state.status_word(),
            revision: row.revision,
            input: row.input,
            tags: row.tags,
            started_at: state.started_at,
            ended_at: state.ended_at,
            due_at: state.due_at(),
            cause: state.cause().cloned(),
            parked: state.parked().cloned(),
            parked_also: state.parked_also().to_vec(),
            data: state.data,
            stalled,
            steps,
        }
    }

    /// Whether it has ended or cannot go on by itself.
    pub fn rests(&self) -> bool {
        self.ended_at.is_some() || self.parked.is_some()
    }
}

fn steps(
    state: &SagaState,
    definition: Option<&SagaDefinition>,
    replies: &[(String, JsonText)],
) -> Vec<StepView> {
    state
        .steps
        .iter()
        .map(|step| {
            let defined = definition.and_then(|d| d.step(&step.name)).map(|(_, step)| step);
            StepView {
                name: step.name.to_string(),
                kind: defined.map(|d| d.kind.as_str()),
                service: defined.map(|d| d.service.to_string()),
                command: defined.map(|d| d.command.to_string()),
                compensation: defined.and_then(|d| d.compensation()).map(|c| c.command.to_string()),
                status: step.progress.as_str(),
                attempts: step.attempts,
                compensation_attempts: step.compensation_attempts,
                settlement_attempts: step.settlement_attempts,
                reply: replies.iter().find(|(name, _)| step.name == *name.as_str()).map(|(_, r)| r.clone()),
                error: step.error.clone(),
                started_at: step.started_at,
                ended_at: step.ended_at,
            }
        })
        .collect()
}
