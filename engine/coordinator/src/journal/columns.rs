//! Values as the columns of the journal's tables take them.

use std::time::Duration;

use crate::ports::JournalError;
use redress_core::history::HistoryEntry;
use redress_core::state::SagaState;
use redress_core::{JsonText, Phase, SagaId, Timestamp};
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

/// The state of a saga from its two columns.
pub(super) fn state(state: &[u8], data: &[u8]) -> Result<SagaState, String> {
    let mut state: SagaState = serde_json::from_slice(state).map_err(|error| error.to_string())?;
    state.data = JsonText::parse(data).map_err(|error| error.to_string())?;
    Ok(state)
}

pub(super) fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Rows of history, column by column, as `unnest` takes them.
#[derive(Default)]
pub(super) struct HistoryColumns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) seqs: Vec<i32>,
    pub(super) ats: Vec<Timestamp>,
    pub(super) events: Vec<&'static str>,
    pub(super) steps: Vec<Option<&'a str>>,
    pub(super) phases: Vec<Option<&'static str>>,
    pub(super) attempts: Vec<Option<i32>>,
    pub(super) details: Vec<&'a [u8]>,
}

impl<'a> HistoryColumns<'a> {
    pub(super) fn push(&mut self, id: SagaId, entry: &'a HistoryEntry) {
        self.ids.push(id.0);
        self.seqs.push(signed(entry.seq));
        self.ats.push(entry.at);
        self.events.push(entry.event.as_str());
        self.steps.push(entry.step.as_deref());
        self.phases.push(entry.phase.map(Phase::as_str));
        self.attempts.push(entry.attempt.map(signed));
        self.details.push(entry.detail.as_bytes());
    }
}

pub(super) fn encode(state: &SagaState) -> Result<Vec<u8>, JournalError> {
    serde_json::to_vec(state).map_err(|error| JournalError::Unreadable(error.to_string()))
}

/// A duration as Postgres adds it.
pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
