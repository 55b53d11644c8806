//! Processes that die at every point of the work on an expense; others take their place. In the end each expense was paid
//! exactly once or refunded, and the provider's books agree with the services' and with the journal.
//!
//! - The coordinator dies at the points of `tests/installation/crash_points.rs`, at each command, and at both replies to a question: that
//!   the answer comes later, and the answer.
//! - The services die at points of their own: prepared and not called, called and not concluded, concluded and not
//!   published; left open; answered and not published, published and not marked.
//! - And at points of every command: before the commit, after it, after the reply.

#![expect(clippy::print_stdout, reason = "the evidence is for whoever runs the test with --nocapture")]

use std::future::Future;
use std::pin::Pin;

use futures_util::future::{OptionFuture, join_all};
use serde_json::{Value, json};

use super::firm::{Firm, Kind};
use crate::support::OFFICES;
use crate::support::check::Evidence;

/// Exit code of a process that died of an injected failure.
const INJECTED: Option<i32> = Some(86);

/// Every command of an expense.
const PLACES: [(&str, &str); 5] = [
    ("approve-expense", "action"),
    ("pay-expense", "action"),
    ("book-expense", "action"),
    ("pay-expense", "compensation"),
    ("approve-expense", "compensation"),
];

type Story = Pin<Box<dyn Future<Output = ()>>>;

/// The expense that comes to this place, its first answer lost on the way.
fn expense_for(phase: &str) -> Kind {
    if phase == "compensation" { Kind::UnbookableAnswerLost } else { Kind::AnswerLost }
}

/// The coordinator is replaced by one that dies at this place, as soon as an expense comes there.
async fn coordinator_dies(firm: &mut Firm, place: &str, kind: Kind) {
    let coordinator = &mut firm.world.coordinators[0];
    if coordinator.is_running() {
        coordinator.kill().await;
    }
    firm.world.coordinators[0] = firm.world.start_coordinator_with(&["--crash-at", place]).await;
    // It may die before it has said that it accepts the expense: the key makes it one all the same.
    let accepted = tokio::select! {
        id = firm.handing_in(kind, json!([]), place) => Some(id),
        code = firm.world.coordinators[0].ended() => {
            assert_eq!(code, INJECTED, "{place}");
            None
        }
    };
    let deciding = OptionFuture::from(accepted.map(|id| firm.decide(id, kind)));
    let replacing = async {
        assert_eq!(firm.world.coordinators[0].ended().await, INJECTED, "{place}");
        firm.world.coordinators[0] = firm.world.start_coordinator().await;
        firm.hand_in(kind, json!([]), place).await
    };
    let (decided, id) = tokio::join!(deciding, replacing);
    assert!(accepted.is_none_or(|accepted| accepted == id), "one expense per key");
    if decided.is_none() {
        firm.decide(id, kind).await;
    }
}

/// The coordinator dies at this point of each command.
async fn coordinator_dies_at(point: &str) {
    let mut firm = Firm::open().await;
    for (step, phase) in PLACES {
        coordinator_dies(&mut firm, &format!("{point}:{step}:{phase}"), expense_for(phase)).await;
    }
    // The answer is a second reply to the same command, and brings no command of its own.
    if !point.ends_with("sending") {
        let id = firm.hand_in(Kind::Fine, json!([]), "answered").await;
        super::firm::asked(&firm.office, 1, Some(id)).await;
        until_awaited(&firm, id).await;
        firm.world.coordinators[0].kill().await;
        let place = format!("{point}:approve-expense:action");
        firm.world.coordinators[0] = firm.world.start_coordinator_with(&["--crash-at", &place]).await;
        firm.decide(id, Kind::Fine).await;
        assert_eq!(firm.world.coordinators[0].ended().await, INJECTED, "{place}, of the answer");
        firm.world.coordinators[0] = firm.world.start_coordinator().await;
    }
    report("coordinator", point, firm.finish().await);
}

async fn until_awaited(firm: &Firm, id: uuid::Uuid) {
    let accepted = "SELECT count(*) FROM saga_history WHERE saga_id = $1 AND event = 'accepted'";
    crate::support::until("the word that the answer comes later", async || {
        let accepted = sqlx::query_scalar(accepted).bind(id).fetch_one(firm.world.journal());
        let accepted: i64 = accepted.await.ok()?;
        (accepted == 1).then_some(())
    })
    .await;
}

fn report(who: &str, point: &str, evidence: Evidence) {
    println!("{who:<12} {point:<22} {evidence:?}");
}

/// The services die at each of these places, one after the other; what they leave is taken up by the next process, or by
/// the one after it, while a call may still be under way.
async fn services_die_at(places: &[&str]) {
    let mut firm = Firm::open().await;
    for place in places {
        firm.world.services[0].kill().await;
        firm.world.services[0] = firm.start_services_to_die(&["--crash-at", place]).await;
        let kind = if place.ends_with("compensation") { Kind::Unbookable } else { Kind::Fine };
        services_die_of(&mut firm, kind, json!([]), place).await;
    }
    firm.world.services[0].kill().await;
    firm.world.services[0] = firm.world.start_services(&OFFICES).await;
    report("services", &places.join(" "), firm.finish().await);
}

/// The services die of an injected failure in each command.
async fn services_obey(fault: &'static str) {
    let mut firm = Firm::open().await;
    for (step, phase) in PLACES {
        let faults = json!([{ "step": step, "phase": phase, "kind": fault }]);
        let key = format!("{fault}:{step}:{phase}");
        services_die_of(&mut firm, expense_for(phase), faults, &key).await;
    }
    report("services", fault, firm.finish().await);
}

async fn services_die_of(firm: &mut Firm, kind: Kind, faults: Value, key: &str) {
    let id = firm.hand_in(kind, faults, key).await;
    let deciding = firm.decide(id, kind);
    let replacing = async {
        assert_eq!(firm.world.services[0].ended().await, INJECTED, "{key}");
        firm.world.services[0] = firm.world.start_services(&OFFICES).await;
    };
    tokio::join!(deciding, replacing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_at_every_point_of_an_expense() {
    let points = [
        "before-commit",
        "after-commit",
        "after-acknowledgement",
        "after-publish",
        "before-sending",
        "after-sending",
    ];
    join_all(points.map(coordinator_dies_at)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_die_at_every_point_of_an_expense() {
    let stories: Vec<Story> = vec![
        Box::pin(services_die_at(&[
            "after-prepare:pay-expense:action",
            "after-call:pay-expense:action",
            "after-conclude:pay-expense:action",
        ])),
        Box::pin(services_die_at(&[
            "after-prepare:pay-expense:compensation",
            "after-call:pay-expense:compensation",
            "after-conclude:pay-expense:compensation",
        ])),
        Box::pin(services_die_at(&[
            "after-later:approve-expense:action",
            "before-answer:approve-expense:action",
            "after-answer:approve-expense:action",
        ])),
        Box::pin(services_obey("crash-before-commit")),
        Box::pin(services_obey("crash-after-commit")),
        Box::pin(services_obey("crash-after-reply")),
    ];
    join_all(stories).await;
}
