//! A provider that honours keys charges the card and answers 504, again and again. The step is found by inquiry, or in doubt;
//! it is never told away while the charge stands.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use redress::{Generated, InDoubt, RetryPolicy, SagaDefinition, SagaId, StartRequest, saga};
use redress_contracts::{BookExpense, ChargeCard, RefundCard};
use redress_services::card_provider::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::firm::Firm;
use crate::support::{PATIENCE, until};

/// The provider tells what became of a charge whose answer was lost.
const TELLS: &str = "4000 0000 0000 9504";
/// It does not.
const DOES_NOT_TELL: &str = "4000 0000 0000 7504";

#[derive(Serialize, Deserialize, JsonSchema)]
struct Payment {
    card: String,
    #[serde(default)]
    expense: Generated<Uuid>,
}

/// Tries five times, or for ever.
fn pay(name: &str, policy: RetryPolicy, in_doubt: InDoubt) -> SagaDefinition {
    let card = |p: &Payment| ChargeCard { card: p.card.clone(), amount: 5_000, currency: "EUR".to_owned() };
    let book = |p: &Payment| BookExpense {
        expense: *p.expense,
        employee: "ann".to_owned(),
        cost_centre: "books".to_owned(),
        amount: 5_000,
    };
    saga::<Payment>(name, 1)
        .step("charge-card", card)
        .retry(policy.backoff(10, 50))
        .compensate(|_| RefundCard {})
        .in_doubt(in_doubt)
        .pivot("book-expense", book)
        .build()
}

fn definitions() -> Vec<SagaDefinition> {
    let five = RetryPolicy::FOR_EVER.attempts(5);
    vec![
        pay("undo-in-doubt", five, InDoubt::Undo),
        pay("park-in-doubt", five, InDoubt::Park),
        pay("try-for-ever", RetryPolicy::FOR_EVER, InDoubt::Undo),
    ]
}

/// The books of the provider about one saga.
fn charges(firm: &Firm, saga: Uuid) -> Vec<Entry> {
    let entries = firm.provider.entries();
    entries.into_iter().filter(|entry| entry.key.starts_with(&saga.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charge_whose_answers_are_lost_is_found_or_in_doubt_and_never_told_away() {
    let mut firm = Firm::open().await;
    // The engine of this test knows its definitions; the other coordinator would leave them alone.
    firm.world.coordinators[0].kill().await;
    let engine = firm.world.engine(definitions()).await;
    let stop = CancellationToken::new();
    let running = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let start = async |saga: &str, card: &str| -> Uuid {
        let request = StartRequest {
            saga: saga.to_owned(),
            input: json!({ "card": card }),
            key: format!("{saga}-{}", card.replace(' ', "-")),
            ..StartRequest::default()
        };
        engine.start_request(request).await.unwrap().id.0
    };
    let saga = async |id: Uuid| -> Value { json!(engine.saga(SagaId(id)).await.unwrap()) };
    let rests = async |id: Uuid| -> Value { json!(engine.wait_ended(SagaId(id), PATIENCE).await.unwrap()) };

    // It can be asked: one charge, one inquiry, and the saga goes on.
    let found = start("undo-in-doubt", TELLS).await;
    let undone = start("undo-in-doubt", DOES_NOT_TELL).await;
    let parked = start("park-in-doubt", DOES_NOT_TELL).await;
    let cancelled = start("try-for-ever", DOES_NOT_TELL).await;
    assert_eq!(rests(found).await["status"], "completed");
    let [charge] = &charges(&firm, found)[..] else { panic!("one charge") };
    assert_eq!((charge.requests, charge.inquiries, charge.is_refunded), (1, 1, false));

    // It cannot be asked: five requests, one charge, and a refund as if it had happened.
    assert_eq!(rests(undone).await["status"], "compensated");
    let [charge] = &charges(&firm, undone)[..] else { panic!("one charge: the provider honours keys") };
    assert_eq!((charge.requests, charge.is_refunded), (5, true));

    // Or it parks, and the charge stands until a person has looked.
    let waits = rests(parked).await;
    assert_eq!((&waits["status"], &waits["parked"]["code"]), (&json!("parked"), &json!("in-doubt")));
    let [charge] = &charges(&firm, parked)[..] else { panic!("one charge") };
    assert_eq!((charge.requests, charge.is_refunded), (5, false));

    // With endless retries a cancel settles it, and it is the same.
    until("five attempts", async || (charges(&firm, cancelled).first()?.requests >= 5).then_some(())).await;
    assert_ne!(saga(cancelled).await["status"], "compensated");
    operate(&engine, cancelled, redress::Verb::Cancel).await;
    assert_eq!(rests(cancelled).await["status"], "compensated");
    let [charge] = &charges(&firm, cancelled)[..] else { panic!("one charge") };
    assert!(charge.is_refunded);

    // All books agree but for the one that waits for a person.
    let wrong = firm.wrong().await;
    assert!(wrong.iter().all(|sentence| sentence.starts_with(&parked.to_string())), "{wrong:?}");
    firm.world.sound_histories().await;
    stop.cancel();
    running.await.unwrap();
}

async fn operate(engine: &redress::Engine, id: Uuid, verb: redress::Verb) {
    let command = redress::OperatorCommand { verb, actor: "ann".to_owned(), reason: "seen".to_owned() };
    engine.operate(SagaId(id), redress::OperatorRequest { command, if_match: None }).await.unwrap();
}
