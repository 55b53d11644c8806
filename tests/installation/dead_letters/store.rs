//! Letters in their store: once each, as they came, decided on once.

use redress::client::{LetterCode, LetterQuery, LetterStatus, LetterVerb};
use redress::{Participant, sqlx};
use serde_json::json;
use uuid::Uuid;

use super::installation::{Greet, Installation, Office};
use crate::support::process::run;
use crate::support::until;

/// While the broker refuses it, the service's own database keeps the letter; then it goes on, and is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_that_the_broker_refused_comes_once_it_has_room() {
    let installation = Installation::new().await;
    let old = installation.office(Participant::new("office").handle::<Greet>(), Office);
    let first = installation.start("one").await;
    installation.until_status(first, "parked").await;
    installation.until_letters(1).await;
    let stream = installation.wire.topology().dead_letters_stream();
    installation.give_room(&stream, 1).await;
    let id = installation.start("two").await;
    installation.until_status(id, "parked").await;
    let kept = "SELECT letter_id FROM inbox_dead_letters";
    let kept: Vec<Uuid> = sqlx::query_scalar(kept).fetch_all(&installation.office).await.expect("rows");
    installation.until_letters(1).await;
    installation.give_room(&stream, 16 << 20).await;
    installation.until_letters(2).await;
    let letter = installation.client.dead_letter(kept[0]).await.expect("it is the same letter");
    assert_eq!((letter.saga_id, letter.missing), (Some(id), None));
    until("it is kept in one place", async || {
        let rows = sqlx::query_scalar("SELECT count(*) FROM inbox_dead_letters");
        let rows: i64 = rows.fetch_one(&installation.office).await.expect("a number");
        (rows == 0).then_some(())
    })
    .await;
    old.stop().await;
    let new = installation.good_office();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    new.stop().await;
    installation.stop().await;
}

fn odd_letter(installation: &Installation) -> redress::wire::DeadLetter {
    redress::wire::DeadLetter {
        id: Uuid::now_v7(),
        service: redress::Name::new("office").expect("a name"),
        code: LetterCode::Unreadable,
        subject: installation.wire.topology().command_subject("office", "confirm"),
        reason: "it is no JSON".to_owned(),
        headers: vec![
            ("Nats-Expected-Stream".to_owned(), "ELSEWHERE".to_owned()),
            ("Odd".to_owned(), "one".to_owned()),
            ("Odd".to_owned(), "another".to_owned()),
        ],
        payload: b"\x00\xff{".to_vec(),
        missing: None,
    }
}

/// Published twice, delivered again with all others when the consumer is lost, and one letter all the same; with
/// headers and body as they came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_is_stored_once_and_as_it_came() {
    let installation = Installation::new().await;
    let letter = odd_letter(&installation);
    for _ in 0..2 {
        installation.wire.publish_dead_letter(&letter).await.expect("it is stored");
    }
    let another = redress::wire::DeadLetter { id: Uuid::now_v7(), ..letter.clone() };
    installation.wire.publish_dead_letter(&another).await.expect("it is stored");
    installation.until_letters(2).await;
    let topology = installation.wire.topology();
    let stream =
        installation.streams().await.get_stream(topology.dead_letters_stream()).await.expect("it is there");
    stream.delete_consumer(&topology.dead_letters_consumer()).await.expect("it is deleted");
    let last = redress::wire::DeadLetter { id: Uuid::now_v7(), ..letter.clone() };
    installation.wire.publish_dead_letter(&last).await.expect("it is stored");
    installation.until_letters(3).await;
    let kept = installation.client.dead_letter(letter.id).await.expect("it is there");
    assert_eq!(kept.headers.expect("headers"), letter.headers);
    assert_eq!(kept.payload_base64.as_deref(), Some("AP97"));
    assert_eq!((kept.payload, kept.payload_text.as_deref()), (None, Some("\0\u{fffd}{")));
    installation.stop().await;
}

/// What cannot be published as it came is not published at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_without_its_message_or_its_way_is_not_replayed() {
    let installation = Installation::new().await;
    let letter = odd_letter(&installation);
    let stray =
        redress::wire::DeadLetter { id: Uuid::now_v7(), subject: "elsewhere".to_owned(), ..letter.clone() };
    for letter in [letter.reduced(), stray.clone()] {
        installation.wire.publish_dead_letter(&letter).await.expect("it is stored");
    }
    installation.until_letters(2).await;
    let query = LetterQuery::default();
    let page = installation
        .client
        .change_dead_letters(&query, LetterVerb::Replay, "ann", "all")
        .await
        .expect("an answer");
    assert_eq!(page.refused, [("incomplete".to_owned(), 1), ("unaddressed".to_owned(), 1)].into());
    assert_eq!(installation.replay(letter.id).await, Err("409 dead-letter-refused".to_owned()));
    assert_eq!(installation.replay(Uuid::now_v7()).await, Err("404 unknown-dead-letter".to_owned()));
    let kept = LetterQuery { status: Some(LetterStatus::Kept), ..query };
    assert_eq!(installation.client.dead_letters(&kept).await.expect("an answer").items.len(), 2);
    installation.stop().await;
}

/// The broker has no room for the message: the letter is kept as before, and replayed later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_whose_message_is_not_published_is_kept() {
    let installation = Installation::new().await;
    let old = installation.office(Participant::new("office").handle::<Greet>(), Office);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::UnknownCommand).await;
    // A service that starts brings its streams into line.
    old.stop().await;
    let stream = installation.wire.topology().commands_stream();
    installation.give_room(&stream, 1).await;
    assert_eq!(installation.replay(letter.id).await, Err("503 not-published".to_owned()));
    let kept = installation.client.dead_letter(letter.id).await.expect("it is there");
    assert_eq!((&*kept.status, kept.decision), ("kept", None), "at once, and not when its time is over");
    installation.give_room(&stream, 16 << 20).await;
    let new = installation.good_office();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    new.stop().await;
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_letters_and_decide_on_them() {
    let installation = Installation::new().await;
    let letter = odd_letter(&installation);
    installation.wire.publish_dead_letter(&letter).await.expect("it is stored");
    installation.until_letters(1).await;
    let environment = [("REDRESS_URL", installation.url.clone()), ("REDRESS_ACTOR", "ann".to_owned())];
    let redress =
        async |arguments: &[&str]| run(&[&["dead-letters"][..], arguments].concat(), &environment).await;
    let id = letter.id.to_string();
    let listed = redress(&[]).await.stdout;
    assert!(listed.contains(&id) && listed.contains("unreadable"), "{listed}");
    let shown = redress(&["show", &id]).await.stdout;
    assert!(shown.contains("Odd: another") && shown.contains("\\u{0}"), "{shown}");
    let groups = redress(&["groups", "--output", "json"]).await.json();
    assert_eq!(groups["items"], json!([{ "source": "office", "code": "unreadable", "count": 1 }]));
    assert_eq!(redress(&["discard"]).await.code, Some(2), "all of them are meant by no accident");
    let discarded =
        redress(&["discard", "--source", "office", "--reason", "no use", "--output", "jsonl"]).await.json();
    assert_eq!(discarded, json!({ "matched": 1, "discarded": 1, "refused": {} }));
    let shown = redress(&["show", &id, "--output", "json"]).await.json();
    assert_eq!(
        (&shown["decision"]["actor"], &shown["decision"]["reason"]),
        (&json!("ann"), &json!("no use"))
    );
    assert_eq!(redress(&["list"]).await.stdout, "no dead letters\n");
    let again = redress(&["replay", &id]).await;
    assert!(again.code == Some(6) && again.stderr.contains("discarded before"), "{}", again.stderr);
    assert_eq!(redress(&["show", &Uuid::now_v7().to_string()]).await.code, Some(5));
    installation.stop().await;
}
