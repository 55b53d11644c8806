//! Questions that are open: asked, answered by the service or a person, given up.

use redress_core::inbox::GivenAnswer;
use redress_core::{CommandMessage, IdempotencyKey, JsonText, Phase, Rejection};
use redress_participant::{AnswerError, Given, HandlerOutcome, Service, answer};
use sqlx::{Connection, PgConnection};

use crate::clerk::{
    Approve, Approved, Clerk, Recall, approve, approve_now, approved_by, create_tables, recall, service,
    settle,
};
use crate::fixture::{Fixture, Instance, saga, told};

async fn clerk() -> (Fixture, Instance, Clerk) {
    let fixture = Fixture::new().await;
    create_tables(&fixture.pool).await;
    let clerk = Clerk::default();
    let instance = fixture.serve(service(clerk.clone()), Default::default(), Default::default()).await;
    (fixture, instance, clerk)
}

fn again(command: &CommandMessage, attempt: u32) -> CommandMessage {
    CommandMessage { attempt, ..command.clone() }
}

/// The states of the approvals in the service's own table.
async fn approvals(fixture: &Fixture) -> Vec<String> {
    let states = sqlx::query_scalar("SELECT substr(key, 38) || ' ' || state FROM approval ORDER BY key");
    states.fetch_all(&fixture.pool).await.unwrap()
}

/// The service answers, in one transaction with its own table.
async fn give(fixture: &Fixture, key: &IdempotencyKey, by: &str) -> Result<Given, AnswerError> {
    let mut tx = fixture.pool.begin().await.unwrap();
    let given = approved_by(&mut tx, key, by).await;
    match given {
        Ok(Given::Now) => tx.commit().await.unwrap(),
        Ok(Given::Before(_)) | Err(_) => tx.rollback().await.unwrap(),
    }
    given
}

fn answered(by: &str) -> GivenAnswer {
    GivenAnswer::Done { reply: JsonText::of(&Approved { by: by.to_owned() }).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_comes_later_is_published_and_remembered() {
    let (mut fixture, instance, _) = clerk().await;
    let command = approve(1, "fence");
    assert_eq!(fixture.ask(command.clone()).await, "accepted");
    assert_eq!(fixture.inbox().await, ["pay/action/1 open"]);
    assert_eq!(
        fixture.ask(again(&command, 2)).await,
        "accepted",
        "it came again, and the handler did not run"
    );
    assert_eq!(approvals(&fixture).await, ["pay/action/1 asked"]);
    assert_eq!(give(&fixture, &command.key, "ann").await.unwrap(), Given::Now);
    assert_eq!(approvals(&fixture).await, ["pay/action/1 approved"]);
    let reply = fixture.replies(1).await.remove(0);
    assert_eq!(told(&reply.outcome), r#"done {"by":"ann"}"#);
    assert_eq!((&reply.key, reply.attempt, reply.version), (&command.key, 1, 1));
    assert_eq!((reply.saga.as_str(), reply.service.as_str()), ("test", "till"));
    // As if it had been lost on its way.
    assert_eq!(fixture.ask(again(&command, 3)).await, r#"done {"by":"ann"}"#);
    assert_eq!(fixture.ask(settle(1)).await, r#"done {"by":"ann"}"#);
    assert_eq!(instance.counted(), "duplicates 2, settled 1, accepted 1, answered_later 1");
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_may_answer_later_may_answer_at_once() {
    let (mut fixture, instance, _) = clerk().await;
    assert_eq!(fixture.ask(approve_now(1, "done")).await, r#"done {"by":"the rules"}"#);
    assert_eq!(fixture.ask(approve_now(2, "reject")).await, "rejected not-allowed: the rules forbid it");
    assert_eq!(approvals(&fixture).await, ["pay/action/1 asked"], "a rejection leaves no write behind");
    assert_eq!(fixture.ask(settle(2)).await, "rejected not-allowed: the rules forbid it");
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_answer_is_told_the_first() {
    let (mut fixture, instance, _) = clerk().await;
    let key = approve(1, "fence").key;
    assert_eq!(fixture.ask(approve(1, "fence")).await, "accepted");
    assert_eq!(give(&fixture, &key, "ann").await.unwrap(), Given::Now);
    assert_eq!(give(&fixture, &key, "bob").await.unwrap(), Given::Before(answered("ann")));
    assert_eq!(told(&fixture.replies(1).await[0].outcome), r#"done {"by":"ann"}"#);
    fixture.ask(approve(2, "fence")).await;
    let no = || HandlerOutcome::Rejected(Rejection::new("declined", "too much"));
    let mut connection = fixture.pool.acquire().await.unwrap();
    let of_second = approve(2, "").key;
    assert_eq!(answer::<Approve>(&mut connection, &of_second, no()).await.unwrap(), Given::Now);
    assert_eq!(told(&fixture.replies(1).await[0].outcome), "rejected declined: too much");
    let before = GivenAnswer::Rejected(Rejection::new("declined", "too much"));
    assert_eq!(give(&fixture, &of_second, "ann").await.unwrap(), Given::Before(before));
    drop(connection);
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_after_the_fence_is_refused_and_told_to_the_caller() {
    let (mut fixture, instance, _) = clerk().await;
    let command = approve(1, "fence");
    assert_eq!(fixture.ask(command.clone()).await, "accepted");
    assert_eq!(fixture.ask(settle(1)).await, "fenced");
    assert_eq!(approvals(&fixture).await, ["pay/action/1 given up"]);
    let refused = give(&fixture, &command.key, "ann").await.unwrap_err();
    insta::assert_snapshot!(refused, @"question 0190163d-8694-739b-aea5-000000000001/pay/action/1 was given up: its saga was told that this never happened, and never will; undo here what was done for it");
    assert_eq!(approvals(&fixture).await, ["pay/action/1 given up"], "what was written with it is gone");
    assert_eq!(fixture.ask(again(&command, 2)).await, "fenced");
    assert_eq!(fixture.ask(recall(1)).await, "done null");
    assert_eq!(instance.counted(), "fenced 1, null_compensations 1, settled 1, accepted 1");
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn question_is_given_up_as_the_service_says() {
    let (mut fixture, instance, _) = clerk().await;
    let table = [
        ("fence", "fenced", "fenced", "given up"),
        ("done", r#"done {"by":"bob"}"#, "done", "given up"),
        ("reject", "rejected declined: bob says no", "rejected", "given up"),
        ("no", "accepted", "open", "given up"),
        ("err", "failed: the clerk is away", "open", "asked"),
    ];
    for (number, (how, outcome, record, state)) in (1..).zip(table) {
        assert_eq!(fixture.ask(approve(number, how)).await, "accepted", "{how}");
        assert_eq!(fixture.ask(settle(number)).await, outcome, "{how}");
        assert_eq!(fixture.inbox().await.last().unwrap(), &format!("pay/action/1 {record}"), "{how}");
        assert_eq!(approvals(&fixture).await.last().unwrap(), &format!("pay/action/1 {state}"), "{how}");
        let told = fixture.ask(again(&approve(number, how), 2)).await;
        assert_eq!(told, if record == "open" { "accepted" } else { outcome }, "{how}: it is remembered");
    }
    // Those that stayed open are answered.
    for number in [4, 5] {
        assert_eq!(give(&fixture, &approve(number, "").key, "ann").await.unwrap(), Given::Now);
        assert_eq!(told(&fixture.replies(1).await[0].outcome), r#"done {"by":"ann"}"#);
    }
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn action_and_its_settlement_in_one_batch_are_ruled_on_in_order() {
    let (mut fixture, instance, _) = clerk().await;
    // From then on the handlers are known to be short, and share a batch.
    assert_eq!(fixture.ask(approve(100, "fence")).await, "accepted");
    assert_eq!(fixture.ask(settle(100)).await, "fenced");
    let three = |number| [approve(number, "fence"), settle(number), again(&approve(number, "fence"), 2)];
    fixture.send(&(1..=20).flat_map(three).collect::<Vec<_>>()).await;
    let mut replies = fixture.replies(60).await;
    replies.sort_by_key(|reply| (reply.key.saga_id, reply.attempt, reply.key.phase));
    for three in replies.chunks(3) {
        let outcomes: Vec<String> = three.iter().map(|reply| told(&reply.outcome)).collect();
        assert_eq!(outcomes, ["accepted", "fenced", "fenced"]);
    }
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn question_whose_give_up_takes_long_holds_up_no_other_command() {
    let (mut fixture, instance, clerk) = clerk().await;
    assert_eq!(fixture.ask(approve(1, "wait")).await, "accepted");
    fixture.send(&[settle(1)]).await;
    clerk.entered.acquire().await.unwrap().forget();
    assert_eq!(fixture.ask(approve(2, "fence")).await, "accepted");
    clerk.gate.add_permits(1);
    assert_eq!(told(&fixture.replies(1).await[0].outcome), "fenced");
    fixture.leave([instance]).await;
}

/// An older instance does not know that the answer may come later.
#[tokio::test(flavor = "multi_thread")]
async fn instance_that_cannot_give_a_question_up_leaves_it_open() {
    let (mut fixture, instance, _) = clerk().await;
    assert_eq!(fixture.ask(approve(1, "fence")).await, "accepted");
    fixture.stop(instance).await;
    let older = Service::new("till", || None, |till| till, ());
    let older = fixture.serve(older, Default::default(), Default::default()).await;
    assert_eq!(fixture.ask(settle(1)).await, "accepted");
    assert_eq!(fixture.inbox().await, ["pay/action/1 open"]);
    fixture.leave([older]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_a_person_counts_unless_the_service_has_answered() {
    let (mut fixture, instance, _) = clerk().await;
    let person = |number, answer: &GivenAnswer| CommandMessage {
        payload: JsonText::of(answer).unwrap(),
        ..settle(number)
    };
    for number in [1, 2] {
        assert_eq!(fixture.ask(approve(number, "no")).await, "accepted");
    }
    assert_eq!(fixture.ask(person(1, &answered("carol"))).await, r#"done {"by":"carol"}"#);
    let key = approve(1, "no").key;
    assert_eq!(give(&fixture, &key, "ann").await.unwrap(), Given::Before(answered("carol")));
    assert_eq!(give(&fixture, &approve(2, "no").key, "ann").await.unwrap(), Given::Now);
    let no = GivenAnswer::Rejected(Rejection::new("declined", "no"));
    let mut outcomes = [fixture.ask(person(2, &no)).await, told(&fixture.replies(1).await[0].outcome)];
    outcomes.sort();
    assert_eq!(outcomes, [r#"done {"by":"ann"}"#, r#"done {"by":"ann"}"#]);
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compensation_may_answer_later() {
    let (mut fixture, instance, _) = clerk().await;
    fixture.ask(approve_now(1, "done")).await;
    assert_eq!(fixture.ask(recall(1)).await, "accepted");
    assert_eq!(fixture.ask(again(&recall(1), 2)).await, "accepted");
    assert_eq!(fixture.inbox().await, ["pay/action/1 done", "pay/compensation/1 open"]);
    let key = recall(1).key;
    let mut connection = fixture.pool.acquire().await.unwrap();
    let no = HandlerOutcome::Rejected(Rejection::new("no", "never"));
    let refused = answer::<Recall>(&mut connection, &key, no).await.unwrap_err();
    assert!(matches!(refused, AnswerError::CompensationRejected { .. }), "{refused}");
    let undone = HandlerOutcome::Done(Approved { by: "ann".to_owned() });
    assert_eq!(answer::<Recall>(&mut connection, &key, undone).await.unwrap(), Given::Now);
    let reply = fixture.replies(1).await.remove(0);
    assert_eq!(
        (reply.key.phase, told(&reply.outcome)),
        (Phase::Compensation, r#"done {"by":"ann"}"#.to_owned())
    );
    assert_eq!(fixture.ask(again(&recall(1), 3)).await, r#"done {"by":"ann"}"#);
    drop(connection);
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_cannot_be_one_changes_nothing() {
    let (mut fixture, instance, _) = clerk().await;
    fixture.ask(approve(1, "fence")).await;
    let key = approve(1, "").key;
    let connection = &mut PgConnection::connect(&fixture.database_url).await.unwrap();
    let by = |by: &str| HandlerOutcome::Done(Approved { by: by.to_owned() });
    let unknown = IdempotencyKey { saga_id: saga(2), ..key.clone() };
    let refused = [
        answer::<Approve>(connection, &unknown, by("ann")).await.unwrap_err(),
        answer::<Recall>(connection, &key, by("ann")).await.unwrap_err(),
        answer::<Approve>(connection, &key, by("a\0b")).await.unwrap_err(),
        answer::<Approve>(connection, &key, by(&"x".repeat(300_000))).await.unwrap_err(),
    ];
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(refused.join("\n"), @r"
    the inbox holds no open question 0190163d-8694-739b-aea5-000000000002/pay/action/1: its handler has not committed yet, or never left it open, or its answer is older than the inbox remembers; if it was left open just now, try again
    question 0190163d-8694-739b-aea5-000000000001/pay/action/1 was asked by `approve`, and this is an answer to `recall`: name the right command
    the reply to `approve` cannot travel: a text in it holds a NUL character
    the reply to `approve` cannot travel: it has 300009 bytes, more than 262144
    ");
    assert_eq!(fixture.inbox().await, ["pay/action/1 open"]);
    assert_eq!(answer::<Approve>(connection, &key, by("ann")).await.unwrap(), Given::Now);
    fixture.replies(1).await;
    fixture.leave([instance]).await;
}
