//! The promises of a journal to the timers: what is due is found, in turn, and what waits is left alone.

use std::time::Duration;

use redress_coordinator::ports::{Changes, Journal, JournalUpkeep, LongestWaits, Selection};
use redress_core::{SagaId, Timestamp};

use super::fixture::{assert_due, begun, definition, due_by, insert, moved, read, saga_id, select};

pub(super) async fn due(journal: &impl JournalUpkeep, now: Timestamp) {
    let [first, second, third] = [1, 2, 3].map(saga_id);
    insert(journal, begun(third, "three", now)).await;
    assert_due(journal, &[first, second], "what is open is due when its time has come").await;
    let of_an_hour_ago = due_by(journal, Duration::from_secs(3_600)).await;
    assert!(of_an_hour_ago.is_empty(), "a look that is behind finds what was due by then");
    let unknown = select(journal, Selection::Due { known: Vec::new(), limit: 10 }).await;
    assert!(unknown.sagas.is_empty(), "a definition that is not known is not looked at");
    let at_once = known().into_iter().map(|(name, version)| (name, version, Duration::ZERO)).collect();
    let one = Selection::Due { known: at_once, limit: 1 };
    assert_eq!(select(journal, one).await.sagas.len(), 1, "a look has a limit");

    waiting(journal, third).await;
    assert_eq!(journal.asleep(&known()).await.expect("it can be read"), [third], "one waits for its time");
    journal.wake(vec![third]).await.expect("it can be woken");
    assert_due(journal, &[first, second, third], "what is woken is due").await;

    let (revision, state) = read(journal, second).await;
    let mut fired = moved([(second, revision, &state)]);
    fired.sagas[0].moved = false;
    fired.sagas[0].fired = true;
    fired.history.clear();
    let fire = journal.transact(Selection::These(vec![second]), usize::MAX, |_| (fired, ()));
    fire.await.expect("it has not moved");
    assert_eq!(read(journal, second).await.0, revision, "a timer's mark is no move");
    assert_due(journal, &[first, second, third], "a mark that is in the past is due").await;

    let aside = Changes { set_aside: vec![second], put_off: vec![third], ..Changes::default() };
    let set_aside = journal.transact(Selection::These(vec![second, third]), usize::MAX, |_| (aside, ()));
    set_aside.await.expect("they can be set aside");
    assert_due(journal, &[first], "what is set aside or put off hides no other").await;
}

/// The saga that waits is found, unless that long a wait is nothing unusual.
async fn waiting(journal: &impl Journal, third: SagaId) {
    let waiting = |under_way, after| {
        // Another longest wait holds of sagas that await something from outside, and this one does not.
        let longest = LongestWaits { under_way, awaiting: Duration::MAX };
        let known = known().into_iter().map(|(name, version)| (name, version, longest)).collect();
        Selection::Waiting { known, after, limit: 10 }
    };
    let found = select(journal, waiting(Duration::ZERO, None)).await.sagas;
    assert_eq!(found.iter().map(|stored| stored.id).collect::<Vec<_>>(), [third], "one waits");
    let last = found[0].wake_at.map(|at| (at, third));
    assert!(last.is_some(), "what waits has a time");
    let rest = select(journal, waiting(Duration::ZERO, last)).await.sagas;
    assert!(rest.is_empty(), "a look goes on after the last one that it has seen");
    let too_long = select(journal, waiting(Duration::from_secs(3_600), None)).await.sagas;
    assert!(too_long.is_empty(), "and it does not wait for too long");
}

fn known() -> Vec<(redress_core::Name, u32)> {
    let definition = definition();
    vec![(definition.name, definition.version)]
}
