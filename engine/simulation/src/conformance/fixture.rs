//! Sagas for the conformance suite, and the usual units of work on them.

use std::time::Duration;

use redress_coordinator::ports::{
    Change, Changes, Fingerprint, Inserted, Journal, JournalError, NewSaga, Selection, Snapshot, Stored,
    StoredState,
};
use redress_core::decide::{Context, start};
use redress_core::fault::FaultBook;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::SagaState;
use redress_core::{
    CommandMessage, IdempotencyKey, JsonText, Name, Phase, SagaDefinition, SagaId, Timestamp,
};
use redress_testkit::fixtures;
use uuid::Uuid;

/// How often is looked for sagas that are due and may be held: some 100 ms on a database.
const LOOKS_MAX: u32 = 300;

/// The definition of the sagas of the conformance suite.
pub fn definition() -> SagaDefinition {
    fixtures::five_steps(2, 8)
}

/// A command of the suite's bus: all are for the service `world` and of version 1 of the saga `fixture`, and differ by
/// their number.
pub fn command(number: u32) -> CommandMessage {
    let name = |text| Name::new(text).expect("a name");
    CommandMessage {
        key: IdempotencyKey {
            saga_id: saga_id(number.into()),
            step: name("create"),
            phase: Phase::Action,
            generation: 1,
        },
        attempt: 1,
        saga: name("fixture"),
        version: 1,
        service: name("world"),
        command: name("create"),
        action_sent_at: Timestamp::UNIX_EPOCH,
        fault: None,
        traceparent: None,
        payload: JsonText::null(),
    }
}

pub(super) fn saga_id(number: u128) -> SagaId {
    SagaId(Uuid::from_u128(number))
}

/// A saga whose first command was sent at this time.
pub(super) fn begun(id: SagaId, key: &str, at: Timestamp) -> NewSaga {
    let definition = definition();
    let mut faults = FaultBook::default();
    let mut ctx = Context {
        definition: &definition,
        saga_id: id,
        now: at,
        jitter: 0.0,
        faults: &mut faults,
        traceparent: None,
    };
    let data = definition.read_input(&serde_json::json!({})).expect("the fixture needs no input");
    let first = start(&mut ctx, data, Vec::new());
    NewSaga {
        id,
        saga: definition.name,
        version: definition.version,
        key: key.to_owned(),
        fingerprint: Fingerprint::new([0; 32]),
        input: b"{}".to_vec(),
        tags: serde_json::json!({ "suite": "yes", "key": key }),
        state: first.state,
        history: first.history,
        places: Vec::new(),
    }
}

/// Inserts one saga.
pub(super) async fn insert(journal: &impl Journal, saga: NewSaga) -> Inserted {
    let inserted = journal.insert(vec![saga], Vec::new()).await.expect("a saga can be inserted");
    assert_eq!(inserted.len(), 1, "each start has its outcome");
    inserted[0]
}

/// The sagas that a selection finds, with as many bytes as there are.
pub(super) async fn select(journal: &impl Journal, selection: Selection) -> Snapshot {
    let nothing = |snapshot| (Changes::default(), snapshot);
    journal.transact(selection, usize::MAX, nothing).await.expect("the journal can be read")
}

/// A saga as it is now.
pub(super) async fn read(journal: &impl Journal, id: SagaId) -> (i64, SagaState) {
    let mut snapshot = select(journal, Selection::Unlocked(vec![id])).await;
    let stored = snapshot.sagas.pop().unwrap_or_else(|| panic!("saga {id} was inserted"));
    (stored.revision, state_of(stored))
}

fn state_of(stored: Stored) -> SagaState {
    match stored.state {
        StoredState::Readable(state) => *state,
        StoredState::Newer(format) => panic!("no row has form {format}"),
        StoredState::Unreadable(problem) => panic!("{problem}"),
    }
}

/// The sagas of the definition that are due.
pub(super) async fn due(journal: &impl Journal) -> Vec<SagaId> {
    due_by(journal, Duration::ZERO).await
}

/// The sagas of the definition that were due so long ago.
pub(super) async fn due_by(journal: &impl Journal, behind: Duration) -> Vec<SagaId> {
    let definition = definition();
    let due = Selection::Due { known: vec![(definition.name, definition.version, behind)], limit: 10 };
    select(journal, due).await.sagas.iter().map(|stored| stored.id).collect()
}

/// Checks that these sagas are due. A look passes over rows that another transaction holds, and one that has just failed may
/// hold its rows for a moment after its error was told: so it is looked again, but not for ever.
pub(super) async fn assert_due(journal: &impl Journal, expected: &[SagaId], why: &str) {
    let mut found = due(journal).await;
    for _ in 0..LOOKS_MAX {
        if found == expected {
            return;
        }
        found = due(journal).await;
    }
    assert_eq!(found, expected, "{why}");
}

/// Writes changes that were decided on these revisions, without a lock.
pub(super) async fn write(journal: &impl Journal, changes: Changes) -> Result<(), JournalError> {
    let ids = changes.sagas.iter().map(|change| change.id).collect();
    journal.transact(Selection::Unlocked(ids), usize::MAX, move |_| (changes, ())).await
}

/// The same states with one more row of history each.
pub(super) fn moved<const N: usize>(sagas: [(SagaId, i64, &SagaState); N]) -> Changes {
    let mut changes = Changes::default();
    for (id, revision, state) in sagas {
        let mut state = state.clone();
        state.history_length += 1;
        let entry = HistoryEntry {
            seq: state.history_length,
            at: state.started_at,
            event: HistoryEvent::Late,
            step: None,
            phase: None,
            attempt: None,
            detail: JsonText::of(&serde_json::json!({})).expect("an empty object"),
        };
        changes.history.push((id, entry));
        changes.sagas.push(Change { id, revision, moved: true, fired: false, new_data: false, state });
    }
    changes
}

/// Moves a saga in a unit of work that locks it.
pub(super) async fn move_locked(journal: &impl Journal, id: SagaId) -> Result<(), JournalError> {
    let decide = move |mut snapshot: Snapshot| {
        let stored = snapshot.sagas.pop().expect("it was inserted");
        let revision = stored.revision;
        (moved([(id, revision, &state_of(stored))]), ())
    };
    journal.transact(Selection::These(vec![id]), usize::MAX, decide).await
}
