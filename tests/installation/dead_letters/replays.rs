//! Each kind of letter, replayed to a right end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redress::client::{LetterCode, LetterQuery, LetterStatus, LetterVerb};
use redress::{Participant, ParticipantConfig, SagaId, sqlx};
use redress_core::inbox::Retention;
use redress_core::{IdempotencyKey, JsonText, Outcome, Phase, ReplyMessage};

use super::installation::{Confirm, ConfirmByNumber, Greet, Installation, MortalOffice, Office, impatient};
use crate::support::until;

/// A service is older than the saga; then its new version comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_command_is_replayed_after_the_upgrade() {
    let installation = Installation::new().await;
    let old = installation.office(Participant::new("office").handle::<Greet>(), Office);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::UnknownCommand).await;
    assert_eq!((&*letter.source, letter.saga_id), ("office", Some(id)));
    assert_eq!((letter.step.as_deref(), letter.phase.as_deref()), (Some("confirm"), Some("action")));
    assert_eq!(letter.payload, Some(JsonText::parse(br#"{"sale":"one"}"#).expect("JSON")), "as it came");
    let subject = installation.wire.topology().command_subject("office", "confirm");
    assert_eq!(letter.subject, subject);
    let headers = letter.headers.clone().expect("headers");
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let key = format!("{id}/confirm/action/1");
    assert_eq!(header("Idempotency-Key"), Some(key.clone()));
    assert_eq!(header("Nats-Msg-Id"), Some(format!("{key}#1")), "as it came");
    let reply_to = installation.wire.topology().reply_subject_of("office", "sell", 1);
    assert_eq!(header("Redress-Reply-To"), Some(reply_to));
    old.stop().await;

    let new = installation.good_office();
    let replayed = installation.replay(letter.id).await.expect("it can be replayed");
    assert_eq!(replayed.status, "replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    assert_eq!(installation.replay(letter.id).await, Err("409 dead-letter-refused".to_owned()));
    let audit = "SELECT string_agg(concat_ws(' ', actor, verb, reason, saga_id = letters.saga), ', ') FROM audit_log, \
                 (SELECT id, saga_id AS saga FROM dead_letters) AS letters WHERE letters.id = letter_id";
    assert_eq!(installation.text(audit).await, "ann replay-dead-letter it is mended t");
    new.stop().await;
    installation.stop().await;
}

/// A version of a service cannot read what it is sent; then it is taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_payload_is_replayed_after_the_fix() {
    let installation = Installation::new().await;
    let bad = installation.office(Participant::new("office").handle::<ConfirmByNumber>(), Office);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::Unreadable).await;
    bad.stop().await;
    let good = installation.good_office();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    // Also the operator asks again, and the inbox answers.
    let query = LetterQuery { status: Some(LetterStatus::Replayed), ..LetterQuery::default() };
    assert_eq!(installation.client.dead_letters(&query).await.expect("an answer").items.len(), 1);
    good.stop().await;
    installation.stop().await;
}

/// A command is the end of its service's connection each time that it runs, until it is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_of_which_the_service_died_is_replayed_after_the_fix() {
    let installation = Installation::new().await;
    let mortal = installation.office(Participant::new("office").handle::<Confirm>(), MortalOffice);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::DeliveryLimit).await;
    mortal.stop().await;
    let good = installation.good_office();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    good.stop().await;
    installation.stop().await;
}

fn reply_to(id: SagaId, step: &str, outcome: Outcome) -> ReplyMessage {
    let name = |text: &str| redress::Name::new(text).expect("a name");
    ReplyMessage {
        key: IdempotencyKey { saga_id: id, step: name(step), phase: Phase::Action, generation: 1 },
        attempt: 1,
        saga: name("sell"),
        version: 1,
        service: name("office"),
        outcome,
    }
}

/// A reply that takes back a promise is one again when it is replayed: the end stays, and nothing happens twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_contradiction_changes_no_end() {
    let installation = Installation::new().await;
    let office = installation.good_office();
    let id = installation.start("one").await;
    installation.until_status(id, "completed").await;
    let contradiction = reply_to(id, "confirm", Outcome::Fenced);
    installation.wire.publish_replies(&[contradiction]).await.remove(0).expect("it is stored");
    let letter = installation.letter(LetterCode::Contradiction).await;
    assert_eq!((&*letter.source, letter.saga_id), ("coordinator", Some(id)));
    installation.replay(letter.id).await.expect("it can be replayed");
    let again = installation.letter(LetterCode::Contradiction).await;
    assert_ne!(again.id, letter.id, "it is a contradiction again, and another letter");
    assert_eq!((again.headers, again.payload), (letter.headers, letter.payload));
    assert_eq!(installation.status(id).await, "completed");
    assert_eq!(installation.confirmed().await, ["one"]);
    let discard = LetterVerb::Discard;
    let discarded = installation.client.change_dead_letter(again.id, discard, "ann", "known").await;
    assert_eq!(discarded.expect("it can be discarded").decision.expect("a decision").reason, "known");
    assert_eq!(installation.replay(again.id).await, Err("409 dead-letter-refused".to_owned()));
    office.stop().await;
    installation.stop().await;
}

/// The saga could not be read when its reply came; mended, it goes on with that reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reply_to_an_unreadable_saga_is_replayed_once_it_is_mended() {
    let installation = Installation::new().await;
    let id = installation.start("one").await;
    until("the confirmation is asked for", async || {
        let saga = installation.engine.saga(id).await.ok()??;
        (serde_json::to_value(saga).ok()?["steps"][1]["status"] == "running").then_some(())
    })
    .await;
    sqlx::query("CREATE TABLE aside AS SELECT state FROM sagas")
        .execute(&installation.journal)
        .await
        .expect("kept");
    sqlx::query("UPDATE sagas SET state = 'broken', revision = revision + 1")
        .execute(&installation.journal)
        .await
        .expect("broken");
    let office = installation.good_office();
    let letter = installation.letter(LetterCode::Undecidable).await;
    let mended = "UPDATE sagas SET state = aside.state, revision = revision + 1 FROM aside";
    sqlx::query(mended).execute(&installation.journal).await.expect("mended");
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    office.stop().await;
    installation.stop().await;
}

/// The inbox has forgotten what it could say of the action: the original time decides, and nothing is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_older_than_the_inbox_remembers_is_answered_expired() {
    let installation = Installation::new().await;
    let old = installation.office(Participant::new("office").handle::<Greet>(), Office);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::UnknownCommand).await;
    old.stop().await;
    let retention = Retention { keep: Duration::from_millis(1), margin: Duration::ZERO };
    let forgetful = Participant::new("office").handle::<Confirm>();
    let stats = forgetful.stats();
    let config = ParticipantConfig { retention, ..impatient() };
    let forgetful = installation.serve_on(installation.office.clone(), forgetful.config(config), Office);
    installation.replay(letter.id).await.expect("it can be replayed");
    until("the answer is `expired`", async || (stats.expired.load(Ordering::Relaxed) == 1).then_some(()))
        .await;
    assert_eq!(installation.status(id).await, "parked");
    assert_eq!(installation.confirmed().await, [""; 0]);
    forgetful.stop().await;
    installation.stop().await;
}

/// By hundreds, as after an upgrade in the wrong order: grouped, replayed by what they have in common, page by page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_grouped_and_changed_by_what_they_have_in_common() {
    const SALES: usize = 60;
    let installation = Installation::new().await;
    let old = installation.office(Participant::new("office").handle::<Greet>(), Office);
    let mut ids = Vec::new();
    for number in 0..SALES {
        ids.push(installation.start(&format!("{number:02}")).await);
    }
    let unknown = LetterQuery { code: Some(LetterCode::UnknownCommand), ..LetterQuery::default() };
    until("all letters", async || {
        let groups = installation.client.dead_letter_groups(&unknown).await.expect("the API answers");
        groups.iter().any(|group| group.source == "office" && group.count == SALES as u64).then_some(())
    })
    .await;
    let of_one = LetterQuery { saga: Some(ids[0]), ..unknown.clone() };
    let change = async |query: &LetterQuery, verb| {
        installation.client.change_dead_letters(query, verb, "ann", "all of them").await.expect("an answer")
    };
    let discarded = change(&of_one, LetterVerb::Discard).await;
    assert_eq!((discarded.matched, discarded.discarded, discarded.next), (1, 1, None));
    old.stop().await;
    let new = installation.good_office();
    let (mut replayed, mut query) = (0, unknown.clone());
    loop {
        let page = change(&query, LetterVerb::Replay).await;
        assert_eq!((page.matched, page.refused.len()), (page.replayed, 0));
        replayed += page.replayed;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(replayed, SALES as u64 - 1);
    for id in &ids[1..] {
        installation.until_status(*id, "completed").await;
    }
    assert_eq!(installation.confirmed().await.len(), SALES - 1, "each once, and not the discarded one");
    assert_eq!(installation.status(ids[0]).await, "parked");
    let again =
        change(&LetterQuery { status: Some(LetterStatus::Replayed), ..unknown }, LetterVerb::Replay).await;
    assert_eq!((again.replayed, again.refused["already-replayed"]), (0, again.matched));
    new.stop().await;
    installation.stop().await;
}
