//! What is kept, for how long, and how much of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redress_core::decide::{Context, start};
use redress_core::fault::FaultBook;
use redress_core::{Command, JsonText, SagaDefinition, Timestamp, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Ship {}

impl Command for Ship {
    const SERVICE: &'static str = "shipping";
    const NAME: &'static str = "ship";
    type Reply = ();
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Sale {}

fn sell() -> SagaDefinition {
    saga::<Sale>("sell", 1).pivot("ship", |_| Ship {}).build()
}

/// A clock that is set by hand, in milliseconds.
#[derive(Clone, Default)]
struct ByHand(Arc<AtomicU64>);

impl ByHand {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for ByHand {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, _: Duration) {}

    fn jitter(&self) -> f64 {
        0.0
    }

    fn new_id(&self) -> Uuid {
        Uuid::nil()
    }
}

fn id(number: u128) -> SagaId {
    SagaId(Uuid::from_u128(number))
}

/// A saga that waits for its first reply.
fn waiting() -> SagaState {
    let definition = sell();
    let mut context = Context {
        definition: &definition,
        saga_id: id(0),
        now: Timestamp::from_timestamp(1_800_000_000, 0).unwrap(),
        jitter: 0.0,
        faults: &mut FaultBook::default(),
        traceparent: None,
    };
    start(&mut context, JsonText::of(&Sale {}).unwrap(), Vec::new()).state
}

fn stored(number: u128, revision: i64) -> Stored {
    let SagaDefinition { name: saga, version, .. } = sell();
    let state = StoredState::Readable(Box::new(waiting()));
    Stored { id: id(number), saga, version, revision, wake_at: None, state }
}

/// The sagas among the first hundred thousand that are kept, with their revisions; they are taken out.
fn taken(kept: &KeptStates<ByHand>) -> Vec<(u128, i64)> {
    let all: Vec<SagaId> = (0..100_000).map(id).collect();
    kept.take(&all).iter().map(|stored| (stored.id.0.as_u128(), stored.revision)).collect()
}

fn kept() -> (ByHand, KeptStates<ByHand>) {
    let clock = ByHand::default();
    (clock.clone(), KeptStates::new(clock))
}

#[test]
fn state_is_taken_once() {
    let (_, kept) = kept();
    kept.put(vec![stored(1, 5), stored(2, 7)]);
    assert_eq!(kept.take(&[id(2), id(3)]).len(), 1);
    assert_eq!(taken(&kept), [(1, 5)]);
    assert_eq!(taken(&kept), []);
}

#[test]
fn newer_state_stays_whichever_comes_first() {
    let (_, kept) = kept();
    kept.put(vec![stored(1, 6)]);
    kept.put(vec![stored(1, 5)]);
    assert_eq!(taken(&kept), [(1, 6)]);
    kept.put(vec![stored(1, 5)]);
    kept.put(vec![stored(1, 6)]);
    assert_eq!(taken(&kept), [(1, 6)]);
}

#[test]
fn old_state_is_forgotten() {
    let (clock, kept) = kept();
    kept.put(vec![stored(1, 5), stored(2, 5)]);
    clock.pass(AGE_MAX);
    kept.put(vec![stored(2, 6)]);
    assert_eq!(kept.take(&[id(1)]).len(), 1, "it is old enough only after this moment");
    clock.pass(AGE_MAX / 2);
    assert_eq!(taken(&kept), [(2, 6)], "its age counts from its last write");
    kept.put(vec![stored(1, 5)]);
    clock.pass(AGE_MAX + Duration::from_millis(1));
    assert_eq!(taken(&kept), []);
    assert_eq!(kept.kept().bytes, 0);
    assert!(kept.kept().by_age.is_empty());
}

#[test]
fn oldest_states_make_room() {
    let (_, kept) = kept();
    let count = STATES_MAX as u128;
    kept.put((0..count + 2).map(|number| stored(number, 1)).collect());
    let taken = taken(&kept);
    assert_eq!((taken.len(), taken[0]), (STATES_MAX, (2, 1)));
}

#[test]
fn large_states_make_room_too() {
    let (_, kept) = kept();
    let mut large = waiting();
    large.data = JsonText::of(&"x".repeat(BYTES_MAX / 3)).unwrap();
    for number in 0..5 {
        let state = StoredState::Readable(Box::new(large.clone()));
        kept.put(vec![Stored { state, ..stored(number, 1) }]);
    }
    assert!(kept.kept().bytes <= BYTES_MAX);
    assert_eq!(taken(&kept), [(3, 1), (4, 1)]);
}

#[test]
fn nothing_is_kept_for_a_while_after_a_state_was_out_of_date() {
    let (clock, kept) = kept();
    kept.put(vec![stored(1, 5)]);
    kept.rest();
    assert_eq!(taken(&kept), [], "the others may be out of date as well");
    clock.pass(REST - Duration::from_millis(1));
    kept.put(vec![stored(1, 6)]);
    assert_eq!(taken(&kept), []);
    clock.pass(Duration::from_millis(1));
    kept.put(vec![stored(1, 7)]);
    assert_eq!(taken(&kept), [(1, 7)]);
}

#[test]
fn only_sagas_that_go_on_by_themselves_are_worth_keeping() {
    let waiting = waiting();
    assert!(is_worth_keeping(&waiting));
    assert!(!is_worth_keeping(&SagaState { hold: Hold::Paused, ..waiting.clone() }));
    let unsent = SagaState::new(&sell(), waiting.data.clone(), Vec::new(), waiting.started_at);
    assert!(!is_worth_keeping(&unsent), "it waits for nothing");
    let ended = Direction::Ended(redress_core::state::End::Completed);
    assert!(!is_worth_keeping(&SagaState { direction: ended, ..waiting }));
}
