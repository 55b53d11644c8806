//! The promises of a journal to the orders of keys: places stand as their starts do, and a change is told until it is known.

use chrono::TimeDelta;
use redress_coordinator::ports::{
    Journal, JournalReads, JournalUpkeep, NewPlace, NewSaga, PlaceChange, PlaceMark, Selection,
};
use redress_core::{Name, SagaId, Timestamp};

use super::fixture::{begun, definition, insert, moved, read, saga_id};

/// The sagas of this part of the suite: others that are due are of no interest here.
const SAGAS: [u128; 4] = [21, 22, 23, 24];

pub(super) async fn orders(journal: &(impl JournalReads + JournalUpkeep), now: Timestamp) {
    let [first, second, third, other] = SAGAS.map(saga_id);
    // They wait for their time, so that no timer finds them due.
    let at = now + TimeDelta::hours(1);
    let both = vec![ordered(first, "p-1", "ann", at), ordered(second, "p-2", "ann", at)];
    journal.insert(both, Vec::new()).await.expect("they can be inserted");
    insert(journal, ordered(third, "p-3", "ann", at)).await;
    insert(journal, ordered(other, "p-4", "bob", at)).await;
    insert(journal, NewSaga { id: saga_id(29), ..ordered(first, "p-1", "ann", at) }).await;

    assert_eq!(untold(journal).await, [first, other], "the first start of each key is the first");
    assert_eq!(untold(journal).await, [first, other], "and it is told until it is known");
    let unknown = journal.untold_places(&[], 10).await.expect("it can be read");
    assert_eq!(unknown, [], "sagas of versions that are not known are left to others");
    assert_eq!(journal.places_waiting().await.expect("it can be read"), 4, "none knows yet");

    mark(journal, first, PlaceMark::First).await;
    mark(journal, other, PlaceMark::First).await;
    tidy(journal).await;
    assert_eq!(untold(journal).await, [], "what is known is not told");
    let holder = journal.place_holder(third, &step()).await.expect("it can be read");
    assert_eq!(holder, Some(first), "the first one holds the key");
    let holder = journal.place_holder(first, &step()).await.expect("it can be read");
    assert_eq!(holder, None, "and stands behind none");
    assert_eq!(journal.places_waiting().await.expect("it can be read"), 2, "two stand behind it");

    mark(journal, second, PlaceMark::LetGo).await;
    tidy(journal).await;
    assert_eq!(untold(journal).await, [], "one in the middle frees nobody");
    mark(journal, first, PlaceMark::LetGo).await;
    tidy(journal).await;
    assert_eq!(untold(journal).await, [third], "the next one is the first, also after the look that forgets");
    stale(journal, third).await;
    assert_eq!(untold(journal).await, [third], "a place does not move without its saga");
    mark(journal, third, PlaceMark::First).await;
    mark(journal, second, PlaceMark::First).await;
    tidy(journal).await;
    assert_eq!(untold(journal).await, [], "what was let go is let go for good");
    mark(journal, third, PlaceMark::LetGo).await;
    mark(journal, other, PlaceMark::LetGo).await;
    tidy(journal).await;
    assert_eq!(untold(journal).await, [], "and a key whose places are all let go is forgotten");
    let holder = journal.place_holder(third, &step()).await.expect("it can be read");
    assert_eq!(holder, None, "it is held by none");
}

fn step() -> Name {
    Name::new("create").expect("a name")
}

fn ordered(id: SagaId, start: &str, key: &str, at: Timestamp) -> NewSaga {
    let place = NewPlace { step: step(), scope: "world.create".to_owned(), key: key.to_owned() };
    NewSaga { places: vec![place], ..begun(id, start, at) }
}

async fn untold(journal: &impl JournalUpkeep) -> Vec<SagaId> {
    let definition = definition();
    let known = [(definition.name, definition.version)];
    let mut untold = journal.untold_places(&known, 10).await.expect("it can be read");
    untold.sort();
    untold.into_iter().map(|(id, _)| id).collect()
}

async fn tidy(journal: &impl JournalUpkeep) {
    while journal.tidy_places(2).await.expect("it can be written") > 0 {}
}

/// A saga moves, and its place with it.
async fn mark(journal: &impl Journal, id: SagaId, mark: PlaceMark) {
    let (revision, state) = read(journal, id).await;
    let mut changes = moved([(id, revision, &state)]);
    changes.places.push(PlaceChange { id, step: step(), mark });
    let write = journal.transact(Selection::Unlocked(vec![id]), usize::MAX, move |_| (changes, ()));
    write.await.expect("it has not moved");
}

/// A saga that has moved since it was read is not written, nor is its place.
async fn stale(journal: &impl Journal, id: SagaId) {
    let (revision, state) = read(journal, id).await;
    let mut changes = moved([(id, revision - 1, &state)]);
    changes.places.push(PlaceChange { id, step: step(), mark: PlaceMark::First });
    let write = journal.transact(Selection::Unlocked(vec![id]), usize::MAX, move |_| (changes, ()));
    assert!(write.await.is_err(), "it has moved since");
}
