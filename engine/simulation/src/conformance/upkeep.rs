//! The promises of a journal's upkeep: it counts what is open, and removes nothing that is.

use std::time::Duration;

use redress_coordinator::ports::{Inserted, JournalReads, JournalUpkeep, Keep, OpenSagas, UnderWay};
use redress_core::Timestamp;

use super::fixture::{begun, definition, insert, saga_id};

/// Shorter than the age of anything that the suite has ended.
const KEEP: Keep = Keep { sagas: Duration::from_secs(60), keys: None, dead_letters: Duration::ZERO };
/// Rows in one go.
const LIMIT: i64 = 10;

/// The first saga has ended, the second was begun an hour ago, the third just now.
pub(super) async fn counts(journal: &(impl JournalReads + JournalUpkeep), now: Timestamp) {
    let definition = definition();
    let open = journal.open_sagas().await.expect("they can be counted");
    let (saga, version) = (definition.name.to_string(), definition.version);
    assert_eq!(open, [OpenSagas { saga: saga.clone(), version, count: 2 }], "two have not ended");
    let census = journal.census().await.expect("they can be counted");
    assert_eq!(census, [(saga, version, "running".to_owned(), 2)], "both go on");
    let stalled = journal.stalled(Duration::from_secs(60)).await.expect("they can be counted");
    assert_eq!(stalled, 1, "one goes on for longer than a minute");
    let standing = journal.standing().await.expect("they can be counted");
    assert_eq!(standing.parked, [], "none is parked");
    let [(name, age)] = &standing.oldest[..] else { panic!("of one definition: {:?}", standing.oldest) };
    assert_eq!(**name, *definition.name, "the definition of the open ones");
    assert!(*age >= Duration::from_secs(60 * 60), "the oldest was begun an hour ago: {age:?}");
    let known = [(definition.name, version)];
    let before = now - Duration::from_secs(60);
    let under_way = journal.under_way(&known, before).await.expect("they can be counted");
    assert_eq!(
        under_way,
        UnderWay { going: 1, resting: 0 },
        "one of those that were begun before is not over"
    );
    journal.ready().await.expect("it can be written");
    let at_rest = journal.at_rest(&[1, 2, 3].map(saga_id)).await.expect("they can be read");
    assert_eq!(at_rest, [saga_id(1)], "one has ended");

    labels(journal).await;
}

/// All bear one label, and each has one of its own.
async fn labels(journal: &impl JournalReads) {
    let found = async |name: &str, value: &str, after, limit| {
        let tag = (name.to_owned(), value.to_owned());
        let found = journal.open_with_tag(&tag, after, limit).await.expect("they can be read");
        (found.rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), found.more)
    };
    let [first, second, third] = [1, 2, 3].map(saga_id);
    assert_eq!(found("suite", "yes", None, 10).await, (vec![third, second], false), "the first has ended");
    assert_eq!(found("suite", "yes", None, 1).await, (vec![third], true), "the newest comes first");
    assert_eq!(found("suite", "yes", Some(third), 1).await, (vec![second], false), "and then the others");
    assert_eq!(
        found("suite", "yes", Some(first), 10).await,
        (vec![], false),
        "there is none before the first"
    );
    assert_eq!(found("key", "two", None, 10).await, (vec![second], false), "one bears it");
    assert_eq!(found("key", "yes", None, 10).await, (vec![], false), "none bears it");
}

pub(super) async fn pruning(journal: &(impl JournalReads + JournalUpkeep)) {
    let pruned = journal.prune_dead_letters(KEEP, LIMIT).await.expect("they can be pruned");
    assert_eq!(pruned, 1, "the letters of a saga that is open stay");
    let for_long = Keep { sagas: Duration::from_secs(86_400), ..KEEP };
    assert_eq!(journal.prune_sagas(for_long, LIMIT).await.expect("they can be pruned"), 0, "none is so old");
    assert_eq!(journal.prune_sagas(KEEP, LIMIT).await.expect("they can be pruned"), 1, "one ended long ago");
    for (number, is_there) in [(1, false), (2, true), (3, true)] {
        let row = journal.saga(saga_id(number)).await.expect("it can be read");
        assert_eq!(row.is_some(), is_there, "an open saga is never pruned, an old one is: {number}");
    }
    let now = journal.now().await.expect("the journal has a clock");
    let again = insert(journal, begun(saga_id(4), "one", now)).await;
    assert_eq!(again, Inserted::New, "the key of a saga that was pruned is free");
    let pruned = journal.prune_keys(Duration::ZERO, LIMIT).await.expect("they can be pruned");
    assert_eq!(pruned, 0, "the keys of sagas that are open stay");
    assert_eq!(
        journal.prune_audit(KEEP, LIMIT).await.expect("it can be pruned"),
        0,
        "the audit log is kept for longer"
    );
    assert_eq!(journal.prune_faults(LIMIT).await.expect("they can be pruned"), 0, "no fault is used up");
}
