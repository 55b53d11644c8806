//! A saga of the journal in memory as people read it.

use redress_coordinator::ports::{JournalError, Replied, SagaRow};
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::{JsonText, Phase, SagaId};
use serde::Deserialize;

use super::tables::Row;

pub(super) fn saga_row(
    id: SagaId,
    row: &Row,
    include: redress_coordinator::Include,
) -> Result<SagaRow, JournalError> {
    Ok(SagaRow {
        id,
        saga: row.definition.0.to_string(),
        version: row.definition.1,
        revision: row.revision,
        state: row.state.clone(),
        input: JsonText::parse(&row.input).map_err(|error| JournalError::Unreadable(error.to_string()))?,
        tags: row.tags.clone(),
        replies: row.history.iter().filter_map(replied).collect(),
        include,
    })
}

#[derive(Deserialize)]
struct Done {
    reply: JsonText,
}

fn replied(entry: &HistoryEntry) -> Option<(String, Replied)> {
    let is_reply = entry.event == HistoryEvent::Done && entry.phase != Some(Phase::Compensation);
    let done = entry.detail.read::<Done>().ok().filter(|_| is_reply)?;
    Some((entry.step.as_ref()?.to_string(), Replied::Said(done.reply)))
}
