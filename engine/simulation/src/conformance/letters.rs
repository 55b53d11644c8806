//! The promises about dead letters: of a journal, that each is kept once and decided on once; of a bus, that they come until
//! they are acknowledged, and that a message which is published again is the same.

use std::time::Duration;

use redress_coordinator::ports::{
    Acknowledge, Bus, COORDINATOR, DeadLetter, JournalLetters, LetterFilter, LetterGroup, LetterRoom,
    LetterState, LetterStep, Letters, TakenLetter,
};
use redress_core::SagaId;
use redress_core::dead_letter::{LetterCode, LetterStatus, LetterVerb};
use uuid::Uuid;

use super::fixture::saga_id;

/// A letter; those of a higher number are newer.
pub(super) fn letter(number: u64, about: Option<SagaId>) -> DeadLetter {
    DeadLetter {
        id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)),
        source: if number.is_multiple_of(2) { "till" } else { COORDINATOR }.to_owned(),
        code: if number.is_multiple_of(2) { LetterCode::UnknownCommand } else { LetterCode::Unreadable },
        saga_id: about,
        reason: "it cannot be read".to_owned(),
        subject: "reply".to_owned(),
        headers: vec![("Odd".to_owned(), "one".to_owned()), ("Odd".to_owned(), "another".to_owned())],
        payload: b"\x00?".to_vec(),
        missing: None,
    }
}

/// Letters are found again as they were, and operators decide on each once.
pub(super) async fn kept_letters(journal: &impl JournalLetters) {
    let kept = vec![letter(1, None), letter(2, Some(saga_id(2))), letter(3, None)];
    for _ in 0..2 {
        journal.dead_letter(kept.clone()).await.expect("letters are kept");
    }
    let all = LetterFilter { limit: 2, ..LetterFilter::default() };
    let newest = journal.letters(&all).await.expect("they can be read");
    let ids: Vec<Uuid> = newest.rows.iter().map(|row| row.letter.id).collect();
    assert_eq!(
        (ids, newest.more),
        (vec![kept[2].id, kept[1].id], true),
        "each is there once, the newest first"
    );
    let oldest = LetterFilter { after: Some(kept[1].id), ..all.clone() };
    let oldest = journal.letters(&oldest).await.expect("they can be read");
    assert_eq!((oldest.rows.len(), oldest.more), (1, false), "and then the others");
    let row = journal.letter(kept[0].id).await.expect("it can be read").expect("it is there");
    assert_eq!((row.letter, row.state), (kept[0].clone(), LetterState::Kept), "a letter is as it was");
    for filter in [
        LetterFilter { code: Some(LetterCode::UnknownCommand), ..all.clone() },
        LetterFilter { source: Some("till".to_owned()), ..all.clone() },
        LetterFilter { saga: Some(saga_id(2)), ..all.clone() },
    ] {
        let found = journal.letters(&filter).await.expect("they can be read").rows;
        assert_eq!(found.iter().map(|row| row.letter.id).collect::<Vec<_>>(), [kept[1].id], "{filter:?}");
    }
    decisions(journal, [kept[0].id, kept[1].id]).await;
    let of_kept = LetterFilter { status: Some(LetterStatus::Kept), ..all };
    let groups = journal.letter_groups(&of_kept).await.expect("they can be counted");
    let of_coordinator =
        |count| LetterGroup { source: COORDINATOR.to_owned(), code: LetterCode::Unreadable, count };
    assert_eq!(groups, [of_coordinator(2)], "those that wait for an operator");
    // Number 2 is decided on; but it speaks of an open saga.
    let room = LetterRoom { letters: 1, bytes: i64::MAX };
    assert_eq!(
        journal.prune_excess_letters(room, 10).await.expect("they can be pruned"),
        1,
        "one has no room"
    );
    assert!(journal.letter(kept[0].id).await.expect("it can be read").is_none(), "the oldest goes");
    let none = journal.prune_excess_letters(LetterRoom::DEFAULT, 10).await.expect("they can be pruned");
    assert_eq!(none, 0, "there is room");
}

/// The first is replayed in vain, the second is discarded.
async fn decisions(journal: &impl JournalLetters, [first, second]: [Uuid; 2]) {
    let decided = |id, verb| {
        let (command_id, actor, reason) = (Uuid::now_v7(), "ann".to_owned(), "why not".to_owned());
        journal.move_letter(LetterStep::Decided { id, verb, command_id, actor, reason })
    };
    let moved = |step| async move { journal.move_letter(step).await.expect("it can be moved") };
    assert!(!moved(LetterStep::Published { id: first }).await, "it is not under way");
    assert!(decided(first, LetterVerb::Replay).await.expect("it can be moved"), "it was kept");
    assert!(!decided(first, LetterVerb::Discard).await.expect("it can be moved"), "it is under way");
    let row = journal.letter(first).await.expect("it can be read").expect("it is there");
    let decision = row.state.decision().expect("an operator has decided");
    assert_eq!((&*decision.actor, &*decision.reason), ("ann", "why not"));
    assert!(moved(LetterStep::NotPublished { id: first }).await, "it was under way");
    assert!(decided(first, LetterVerb::Replay).await.expect("it can be moved"), "it is kept as before");
    let after = Duration::from_secs(3_600);
    assert_eq!(journal.give_back_letters(after).await.expect("they can be moved"), 0, "it is young");
    let given_back = journal.give_back_letters(Duration::ZERO).await.expect("they can be moved");
    assert_eq!(given_back, 1, "a coordinator that dies does not hold it for ever");
    assert!(decided(second, LetterVerb::Discard).await.expect("it can be moved"), "it was kept");
    assert!(!moved(LetterStep::NotPublished { id: second }).await, "what is discarded stays so");
}

/// Letters come until they are acknowledged.
pub(super) async fn taken_letters<B: Bus>(bus: &B, publish: impl AsyncFn(DeadLetter)) {
    let mut letters = bus.letters();
    let published = letter(2, None);
    publish(published.clone()).await;
    for settled in [false, true] {
        let mut batch = letters.next_batch(1).await;
        let TakenLetter { letter, acknowledge } = batch.pop().expect("a batch is never empty");
        assert_eq!(letter, published, "a letter arrives as it was");
        match settled {
            false => acknowledge.nak(Duration::ZERO).await,
            true => acknowledge.ack().await,
        }
    }
    publish(DeadLetter { id: Uuid::now_v7(), ..published.clone() }).await;
    let next = letters.next_batch(1).await.pop().expect("a batch is never empty");
    assert_ne!(next.letter.id, published.id, "what is acknowledged does not come again");
    next.acknowledge.term().await;
}
