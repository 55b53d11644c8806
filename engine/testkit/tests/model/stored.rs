//! The saga's row, its times and its id, as the model keeps them: states that differ only in time are the same.

use redress_core::state::{PendingCommand, Progress, SagaState};
use redress_core::{JsonText, SagaId, Timestamp};
use uuid::Uuid;

use crate::sell::Sale;

/// All that the model knows of time.
pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// Later than anything is waited for.
pub(crate) fn much_later() -> Timestamp {
    now() + chrono::TimeDelta::days(1)
}

pub(crate) fn saga_id() -> SagaId {
    SagaId(Uuid::from_u128(1))
}

/// The state without its times: states that differ only in time are the same.
pub(crate) fn timeless(mut state: SagaState) -> String {
    state.history_length = 0;
    for step in &mut state.steps {
        step.started_at = step.started_at.map(|_| now());
        step.ended_at = None;
        step.error = None;
        if let Some(pending) = step.open().cloned() {
            step.move_to(Progress::Open(PendingCommand { until: now(), tried_ms: 0, unsent: 0, ..pending }))
                .unwrap();
        }
    }
    state.ended_at = state.ended_at.map(|_| now());
    if state.waits().next().is_none() {
        return serde_json::to_string(&state).unwrap();
    }
    let mut stored = serde_json::to_value(&state).unwrap();
    for step in stored["steps"].as_array_mut().unwrap() {
        if let Some(waiting) = step["progress"].get_mut("waiting") {
            waiting["until"] = serde_json::json!(now());
        }
    }
    stored.to_string()
}

pub(crate) fn state(saga: &str) -> SagaState {
    let mut state: SagaState = serde_json::from_str(saga).unwrap();
    // The journal keeps the data in a column of their own; these never change.
    state.data = JsonText::of(&Sale {}).unwrap();
    state
}
