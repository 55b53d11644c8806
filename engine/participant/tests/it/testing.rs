//! The harness for users' own tests: it rules, runs and answers as a participant does, without a broker.

use std::time::Duration;

use redress_core::Compensates;
use redress_participant::testing::{ServiceTest, ServiceTestError, TestOutcome};
use redress_participant::{AnswerError, Given, HandlerOutcome, ParticipantConfig, Service};

use crate::clerk::{self, Approve, Approved, Clerk, Recall};
use crate::till::{How, Pile, Put, TakeBack, Till, Unpile, service};

impl Compensates<Put> for TakeBack {}
impl Compensates<Pile> for Unpile {}

async fn till() -> ServiceTest {
    let test = ServiceTest::of(service(Till::default())).await.unwrap();
    Till::create_tables(test.pool()).await;
    test
}

/// The effects that were written, as `kind:slot`.
async fn effects(test: &ServiceTest) -> Vec<String> {
    let effects = sqlx::query_scalar("SELECT kind || ':' || slot FROM effect ORDER BY slot, kind");
    effects.fetch_all(test.pool()).await.unwrap()
}

fn put(slot: i64, how: How) -> Put {
    Put { slot, how }
}

fn take_back(slot: i64) -> TakeBack {
    TakeBack { slot, how: How::Done }
}

#[tokio::test]
async fn repeated_command_has_one_effect_and_the_same_answer() {
    let test = till().await;
    let step = test.step(put(1, How::Done));
    for _ in 0..3 {
        assert_eq!(step.run().await.unwrap().to_string(), r#"done {"slot":1,"note":"done"}"#);
    }
    assert_eq!(effects(&test).await, ["put:1"]);
    assert_eq!(step.undo(&take_back(1)).await.unwrap(), TestOutcome::Done(()));
    assert_eq!(step.undo(&take_back(1)).await.unwrap(), TestOutcome::Done(()));
    assert_eq!(effects(&test).await, ["put:1", "take:1"]);
    assert!(step.settle().await.unwrap().is_done(), "the answer is remembered");
}

#[tokio::test]
async fn action_is_fenced_after_its_undo_or_its_settlement() {
    let test = till().await;
    let undone = test.step(put(1, How::Done));
    assert_eq!(undone.undo(&take_back(1)).await.unwrap(), TestOutcome::Done(()));
    assert!(matches!(undone.run().await.unwrap(), TestOutcome::Fenced));
    let settled = test.step(put(2, How::Done));
    assert!(matches!(settled.settle().await.unwrap(), TestOutcome::Fenced));
    assert!(matches!(settled.run().await.unwrap(), TestOutcome::Fenced));
    assert_eq!(effects(&test).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_action_and_undo_agree() {
    let test = till().await;
    for slot in 1..=20 {
        let (action, undo) = test.step(put(slot, How::Done)).race(&take_back(slot)).await.unwrap();
        assert_eq!(undo, TestOutcome::Done(()));
        let both = [format!("put:{slot}"), format!("take:{slot}")];
        let written: Vec<String> =
            effects(&test).await.into_iter().filter(|it| it.ends_with(&format!(":{slot}"))).collect();
        match action {
            TestOutcome::Done(_) => assert_eq!(written, both),
            TestOutcome::Fenced => assert_eq!(written, [""; 0]),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn old_command_is_expired_by_the_memory_of_the_inbox() {
    let test = till().await;
    let day = Duration::from_secs(86_400);
    assert!(test.step(put(1, How::Done)).sent_ago(28 * day).run().await.unwrap().is_done());
    let old = test.step(put(2, How::Done)).sent_ago(30 * day);
    assert!(matches!(old.run().await.unwrap(), TestOutcome::Expired));
    assert_eq!(old.undo(&take_back(2)).await.unwrap(), TestOutcome::Expired);
    assert_eq!(effects(&test).await, ["put:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_of_a_batch_has_its_own_outcome() {
    let config =
        ParticipantConfig { handler_time_max: Duration::from_millis(300), ..ParticipantConfig::default() };
    let test = till().await.config(config).unwrap();
    let hows = [How::Done, How::Reject, How::Err, How::WrongAtCommit, How::Hang, How::CollideOnce, How::Nul];
    let steps: Vec<_> = (1..).zip(hows).map(|(slot, how)| test.step(put(slot, how))).collect();
    let told: Vec<String> =
        test.run_together(&steps).await.unwrap().iter().map(TestOutcome::to_string).collect();
    // Postgres goes on with a line of its own source, which depends on its version.
    let told: Vec<&str> = told.iter().map(|line| line.split(" at line ").next().unwrap()).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    done {"slot":1,"note":"done"}
    rejected till-closed: come back tomorrow
    failed: the drawer is stuck
    failed: error returned from database: duplicate key value violates unique constraint "checked_at_commit_slot_key"
    failed: the handler did not end within 300ms; what it did was rolled back; have it give up earlier what it waits for, or raise `handler_time_max`
    done {"slot":6,"note":"second time"}
    refused: the reply cannot travel: a text in it holds a NUL character
    "#);
    assert_eq!(effects(&test).await, ["put:1", "put:6"]);
}

#[tokio::test]
async fn set_is_undone_together() {
    let test = till().await;
    let steps = [1, 2].map(|slot| test.step(Pile { slot, how: How::Done }));
    assert!(test.run_together(&steps).await.unwrap().iter().all(TestOutcome::is_done));
    let unpile = |slot| Unpile { slot, how: How::Done };
    let undone = test.undo_together(&[(&steps[0], unpile(1)), (&steps[1], unpile(2))]).await.unwrap();
    assert_eq!(undone, [TestOutcome::Done(()), TestOutcome::Done(())]);
    assert_eq!(effects(&test).await, ["pile:1", "unpile:1", "pile:2", "unpile:2"]);
}

#[tokio::test]
async fn command_without_handler_is_refused_and_one_of_another_service_is_an_error() {
    let forgetful = Service::new("till", || None, |till| till.handle::<Put>(), Till::default());
    let test = ServiceTest::of(forgetful).await.unwrap();
    Till::create_tables(test.pool()).await;
    let step = test.step(put(1, How::Done));
    assert!(step.run().await.unwrap().is_done());
    insta::assert_snapshot!(step.undo(&take_back(1)).await.unwrap().to_string(), @"refused: service `till` knows no compensation `take-back`");
    let drawer = Service::new("drawer", || None, |it| it, Till::default());
    let refused = ServiceTest::of(drawer).await.unwrap().run(put(1, How::Done)).await.unwrap_err();
    insta::assert_snapshot!(refused, @"command `put` belongs to service `till`, and `drawer` is under test: run it in a test of `till`");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_comes_later_is_played_without_a_coordinator() {
    let test = ServiceTest::of(clerk::service(Clerk::default())).await.unwrap();
    clerk::create_tables(test.pool()).await;
    let ask = |give_up: &str| Approve { now: "later".to_owned(), give_up: give_up.to_owned() };
    let by = |by: &str| HandlerOutcome::Done(Approved { by: by.to_owned() });
    let answered = test.step(ask("no"));
    assert_eq!(answered.run().await.unwrap(), TestOutcome::Accepted);
    assert_eq!(answered.settle().await.unwrap(), TestOutcome::Accepted, "it cannot be given up");
    assert_eq!(answered.answer(by("ann")).await.unwrap(), Given::Now);
    assert!(matches!(answered.answer(by("bob")).await.unwrap(), Given::Before(_)));
    assert_eq!(answered.run().await.unwrap().to_string(), r#"done {"by":"ann"}"#);
    assert_eq!(answered.undo(&Recall {}).await.unwrap(), TestOutcome::Accepted);
    answered.answer_undo::<Recall>(Approved { by: "ann".to_owned() }).await.unwrap();
    assert_eq!(answered.undo(&Recall {}).await.unwrap(), TestOutcome::Done(()));
    let given_up = test.step(ask("fence"));
    given_up.run().await.unwrap();
    assert_eq!(given_up.settle().await.unwrap(), TestOutcome::Fenced);
    assert!(matches!(given_up.answer(by("ann")).await.unwrap_err(), AnswerError::Fenced { .. }));
    let person = test.step(ask("no"));
    person.run().await.unwrap();
    let told = person.answer_of_person(by("carol")).await.unwrap();
    assert_eq!(told.to_string(), r#"done {"by":"carol"}"#);
    for _ in 0..10 {
        let racing = test.step(ask("fence"));
        racing.run().await.unwrap();
        match racing.race_answer(by("ann")).await.unwrap() {
            (Ok(Given::Now), TestOutcome::Done(_))
            | (Err(AnswerError::Fenced { .. }), TestOutcome::Fenced) => {}
            (given, settled) => panic!("{given:?}, and {settled}"),
        }
    }
}

#[tokio::test]
async fn given_database_keeps_its_rows() {
    let first = till().await;
    first.run(put(1, How::Done)).await.unwrap();
    let database = first.pool().connect_options().get_database().unwrap().to_owned();
    let url = redress_devstack::shared().await.postgres().url(&database);
    let second = ServiceTest::at(service(Till::default()), &url).await.unwrap();
    second.run(put(2, How::Done)).await.unwrap();
    assert_eq!(effects(&first).await, ["put:1", "put:2"]);
    let gone = redress_devstack::shared().await.postgres().url("no_such_database");
    let refused = ServiceTest::at(service(Till::default()), &gone).await.err().unwrap();
    assert!(matches!(refused, ServiceTestError::Service(_)), "{refused}");
}
