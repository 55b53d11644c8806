//! The promises of a journal: one key is one saga, a decision holds only on the state that it was made on, and an end is
//! an end.

use chrono::TimeDelta;
use redress_coordinator::ports::{
    Audit, Changes, Fingerprint, Inserted, Journal, JournalError, JournalLetters, JournalReads,
    JournalUpkeep, NewSaga, RegisterError, Selection, Stored, StoredState,
};
use redress_core::Timestamp;
use redress_core::history::HistoryEvent;
use redress_core::state::{Direction, End, Status};

use super::fixture::{begun, definition, due, insert, move_locked, moved, read, saga_id, select, write};
use super::{letters, lists, places, timers, upkeep};

/// Checks that a journal does everything that a journal must do. It must be empty.
///
/// # Panics
/// If it does not.
pub async fn journal(journal: &(impl JournalReads + JournalUpkeep + JournalLetters)) {
    let now = journal.now().await.expect("the journal has a clock");
    // Long ago, so that what waits for an answer is due.
    let then = now - TimeDelta::hours(1);
    definitions(journal).await;
    keys(journal, then).await;
    revisions(journal).await;
    known_states(journal, then).await;
    batches(journal).await;
    audit(journal).await;
    timers::due(journal, now).await;
    ends(journal, then).await;
    upkeep::counts(journal, now).await;
    lists::filters(journal).await;
    letters::kept_letters(journal).await;
    upkeep::pruning(journal).await;
    places::orders(journal, now).await;
    lists::search_is_bounded(journal, now).await;
}

async fn definitions(journal: &impl Journal) {
    journal.register(&definition()).await.expect("a new definition is stored");
    journal.register(&definition()).await.expect("the same definition may be registered again");
    let mut changed = definition();
    changed.digest = "another".to_owned();
    let refused = journal.register(&changed).await;
    assert!(
        matches!(refused, Err(RegisterError::Changed { .. })),
        "a deployed version is immutable: {refused:?}"
    );
}

async fn keys(journal: &impl JournalReads, then: Timestamp) {
    let [first, second, other] = [1, 2, 9].map(saga_id);
    assert_eq!(journal.start_of("one").await.expect("it can be read"), None, "the key was not used yet");
    assert_eq!(insert(journal, begun(first, "one", then)).await, Inserted::New);
    let same = insert(journal, begun(other, "one", then)).await;
    assert_eq!(same, Inserted::Same(first), "a key is one saga");
    let body = Fingerprint::new([1; 32]);
    let another = insert(journal, NewSaga { fingerprint: body, ..begun(other, "one", then) }).await;
    assert_eq!(another, Inserted::Other(first), "a key that was used with another body is told");
    assert!(journal.saga(other).await.expect("it can be read").is_none(), "and begins no saga");
    let batch = vec![begun(other, "one", then), begun(second, "two", then)];
    let inserted = journal.insert(batch, Vec::new()).await.expect("a batch can be inserted");
    assert_eq!(inserted, [Inserted::Same(first), Inserted::New], "each start has its own outcome");
    let start = journal.start_of("two").await.expect("it can be read").expect("it was committed");
    assert_eq!((start.id, start.fingerprint), (second, [0; 32]), "a start is found by its key");
    let row = journal.saga(second).await.expect("it can be read").expect("it was inserted");
    assert_eq!((row.revision, row.state.status()), (1, Status::Running), "a saga begins at revision 1");
}

async fn revisions(journal: &impl JournalReads) {
    let first = saga_id(1);
    let (revision, state) = read(journal, first).await;
    write(journal, moved([(first, revision, &state)])).await.expect("it has not moved");
    let (next, moved_on) = read(journal, first).await;
    assert_eq!(next, revision + 1, "every move counts");
    assert_eq!(moved_on.history_length, state.history_length + 1, "what was written is read");
    let stale = write(journal, moved([(first, revision, &state)])).await;
    assert!(
        matches!(stale, Err(JournalError::Collision(_))),
        "a saga that has moved since it was read is not written: {stale:?}"
    );
    let together = tokio::join!(move_locked(journal, first), move_locked(journal, first));
    assert!(matches!(together, (Ok(()), Ok(()))), "locked, one comes after the other: {together:?}");
    assert_eq!(read(journal, first).await.0, next + 2, "and neither is lost");
    let missing = select(journal, Selection::These(vec![saga_id(9)])).await;
    assert!(missing.sagas.is_empty(), "a saga that is not there is not found");
}

/// A state that the caller knows is handed back as it is, and may be out of date: the revision says so.
async fn known_states(journal: &impl JournalReads, then: Timestamp) {
    let [first, second] = [1, 2].map(saga_id);
    let (revision, state) = read(journal, first).await;
    let known = |revision, read| Selection::Known {
        read,
        known: vec![Stored {
            id: first,
            saga: definition().name,
            version: definition().version,
            revision,
            wake_at: None,
            state: StoredState::Readable(Box::new(state.clone())),
        }],
        now: then,
    };
    let snapshot = select(journal, known(revision + 7, vec![second])).await;
    let found: Vec<_> = snapshot.sagas.iter().map(|stored| (stored.id, stored.revision)).collect();
    let (revision_of_second, _) = read(journal, second).await;
    assert_eq!(found, [(first, revision + 7), (second, revision_of_second)], "the other one is read");
    assert!(snapshot.now > then, "with what is read comes the journal's clock");
    let snapshot = select(journal, known(revision, Vec::new())).await;
    assert_eq!((snapshot.sagas.len(), snapshot.now), (1, then), "nothing is read");

    let write = |revision| {
        let changes = moved([(first, revision, &state)]);
        journal.transact(known(revision, Vec::new()), usize::MAX, move |_| (changes, ()))
    };
    let stale = write(revision - 1).await;
    assert!(matches!(stale, Err(JournalError::Collision(_))), "the saga has moved: {stale:?}");
    write(revision).await.expect("it is as the caller knows it");
    assert_eq!(read(journal, first).await.0, revision + 1);
}

async fn batches(journal: &impl JournalReads) {
    let [first, second] = [1, 2].map(saga_id);
    let rows = journal.history(second, 0, 100).await.expect("it can be read").rows;
    let ((of_first, one), (of_second, two)) = (read(journal, first).await, read(journal, second).await);
    let half = moved([(second, of_second, &two), (first, of_first - 1, &one)]);
    assert!(write(journal, half).await.is_err(), "one of a batch has moved");
    assert_eq!(read(journal, second).await.0, of_second, "and nothing of the batch is written");
    let after = journal.history(second, 0, 100).await.expect("it can be read").rows;
    assert_eq!(after, rows, "nor is its history");
    let whole = moved([(first, of_first, &one), (second, of_second, &two)]);
    write(journal, whole).await.expect("neither has moved");
    let page = journal.history(second, 1, 1).await.expect("it can be read");
    assert_eq!((page.rows.len(), page.rows[0].seq), (1, 2), "history is read page by page");
    let few = journal.transact(Selection::These(vec![first, second]), 1, |snapshot| {
        (Changes::default(), (snapshot.sagas.len(), snapshot.left))
    });
    assert_eq!(
        few.await.expect("it can be read"),
        (1, vec![second]),
        "one is always read, and the others named"
    );
}

async fn audit(journal: &impl Journal) {
    let [first, command_id] = [1, 77].map(saga_id);
    let asked = || async { journal.has_operator_command(command_id.0).await.expect("it can be read") };
    assert!(!asked().await, "the command was not given yet");
    let (revision, state) = read(journal, first).await;
    let audit = |revision| Changes {
        audit: vec![Audit {
            command_id: command_id.0,
            actor: "ann".to_owned(),
            verb: "pause",
            saga_id: first,
            reason: "why not".to_owned(),
        }],
        ..moved([(first, revision, &state)])
    };
    assert!(write(journal, audit(revision - 1)).await.is_err(), "the saga has moved");
    assert!(!asked().await, "so the command was not carried out");
    write(journal, audit(revision)).await.expect("it has not moved");
    assert!(asked().await, "an operator command is audited with what it does");
}

async fn ends(journal: &impl Journal, then: Timestamp) {
    let first = saga_id(1);
    let (revision, state) = read(journal, first).await;
    let mut end = moved([(first, revision, &state)]);
    end.sagas[0].state.direction = Direction::Ended(End::Completed);
    end.sagas[0].state.ended_at = Some(then);
    end.history[0].1.event = HistoryEvent::Completed;
    write(journal, end).await.expect("it ends");
    assert!(!due(journal).await.contains(&first), "what has ended is never due");
    let (revision, ended) = read(journal, first).await;
    let mut revived = moved([(first, revision, &ended)]);
    revived.sagas[0].state.direction = Direction::Forward;
    revived.sagas[0].state.ended_at = None;
    let refused = write(journal, revived).await.expect_err("an end has no way out");
    assert!(!refused.is_unavailable(), "and that does not pass: {refused}");
    write(journal, moved([(first, revision, &ended)])).await.expect("what comes after the end is noted");
}
