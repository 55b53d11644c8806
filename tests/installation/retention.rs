//! A participant whose inbox has forgotten: a command that an operator retries then is neither done twice nor undone in
//! vain.

use std::time::Duration;

use crate::support::{World, until};
use redress::{
    Engine, OperatorCommand, OperatorRequest, RetryPolicy, SagaDefinition, SagaId, ServiceConfig,
    StartRequest, Verb, saga,
};
use redress_contracts::{ChargePayment, RefundPayment, ShipOrder};
use redress_core::inbox::Retention;
use redress_sagas::PlaceOrder;
use serde_json::json;
use tokio_util::sync::CancellationToken;

fn charge(o: &PlaceOrder) -> ChargePayment {
    let (customer, currency) = (o.customer.clone(), o.currency.clone());
    ChargePayment { payment: *o.payment, customer, amount: o.total(), currency }
}

/// Money, and a parcel that decides; a refund that fails once parks the saga for an operator.
#[rustfmt::skip] // A saga reads as a table.
fn send_paid() -> SagaDefinition {
    saga::<PlaceOrder>("send-paid", 1)
        .step("charge-payment", charge)
            .compensate(        |o| RefundPayment { payment: *o.payment })
            .compensation_retry(RetryPolicy::COMPENSATION.attempts(1))
            .timeout(Duration::from_millis(500))
        .pivot("ship-order",    |o| ShipOrder     { shipment: *o.shipment, address: o.address.clone() })
        .build()
}

/// A payment service whose inbox remembers for a moment only.
async fn forgetful_payment(world: &World, shutdown: CancellationToken) -> tokio::task::JoinHandle<()> {
    let payment = redress_services::all().into_iter().find(|service| service.name() == "payment");
    let payment = payment.expect("there is a payment service");
    let mut options = ServiceConfig::default();
    options.participant.retention = Retention { keep: Duration::from_millis(100), margin: Duration::ZERO };
    options.participant.prune_every = Duration::from_millis(50);
    let (database, wire) = (world.database_of("payment"), world.wire().await);
    tokio::spawn(async move { payment.run(&database, wire, options, shutdown).await.expect("it serves") })
}

async fn start_paid(engine: &Engine, key: &str, faults: serde_json::Value, address: &str) -> SagaId {
    let request = StartRequest {
        saga: "send-paid".to_owned(),
        input: json!({
            "customer": "alice", "currency": "EUR", "address": address,
            "lines": [{ "sku": "book", "quantity": 2, "unit_price": 1500 }],
        }),
        key: key.to_owned(),
        faults: Some(faults),
        ..StartRequest::default()
    };
    engine.start_request(request).await.expect("the saga is accepted").id
}

async fn until_parked(engine: &Engine, id: SagaId, code: &str) {
    until(&format!("parked: {code}"), async || {
        let row: serde_json::Value = serde_json::to_value(engine.saga(id).await.ok()??).ok()?;
        row["parked"].to_string().contains(code).then_some(())
    })
    .await;
}

/// Day 0: charged, and parked; or charged, not heard, and paused. An operator goes on after the service has forgotten
/// both: no second charge, and no refund that never was. Scenario 40.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_inbox_pruning_is_answered_expired() {
    let shared = redress::devstack::shared().await;
    let mut world = World::with(shared, 0, &[&["order", "inventory", "shipping"], &["payment"]]).await;
    let engine = world.engine(vec![send_paid()]).await;
    let shutdown = CancellationToken::new();
    let (running, token) = (engine.clone(), shutdown.clone());
    let running = tokio::spawn(async move { running.run(token).await });

    let start = async |key: &str, faults: serde_json::Value, address: &str| {
        start_paid(&engine, key, faults, address).await
    };
    let order = async |id: SagaId, verb: Verb| {
        let command = OperatorCommand { verb, actor: "ann".to_owned(), reason: "day 40".to_owned() };
        engine.operate(id, OperatorRequest { command, if_match: None }).await.expect("it is not too late");
    };
    let parked_for = async |id: SagaId, code: &str| until_parked(&engine, id, code).await;
    let books = world.books().clone();
    let charged = async || -> i64 {
        let charged = "SELECT count(*) FROM payments WHERE status = 'charged'";
        sqlx::query_scalar(charged).fetch_one(&books.payment).await.unwrap_or(-1)
    };

    let refund_fails = json!([{ "step": "charge-payment", "phase": "compensation", "kind": "fail" }]);
    let undeliverable = start("undeliverable", refund_fails, "3 Coral Reef, Atlantis").await;
    parked_for(undeliverable, "compensation-failed").await;
    let unheard: redress_core::fault::Fault = serde_json::from_value(
        json!({ "saga": "send-paid", "step": "charge-payment", "kind": "drop-reply" }),
    )
    .expect("it is a fault");
    engine.add_fault(&unheard).await.expect("faults are allowed");
    let unheard = start("unheard", json!([]), "1 Harbour Street, Reykjavik").await;
    until("both charges", async || (charged().await == 2).then_some(())).await;
    order(unheard, Verb::Pause).await;
    engine.clear_faults().await.expect("the journal answers");

    world.services[1].kill().await;
    let forgetting = CancellationToken::new();
    let forgetful = forgetful_payment(&world, forgetting.clone()).await;
    until("the pruning", async || {
        let kept = sqlx::query_scalar("SELECT count(*) FROM inbox").fetch_one(&world.books().payment);
        (kept.await.ok() == Some(0_i64)).then_some(())
    })
    .await;

    order(undeliverable, Verb::Retry { step: None }).await;
    order(unheard, Verb::Resume).await;
    for id in [undeliverable, unheard] {
        parked_for(id, "expired").await;
    }
    // The charges stand, once each: neither doubled nor called refunded.
    assert_eq!(charged().await, 2);
    let posted = "SELECT count(*) FROM ledger WHERE account = 'alice' AND key NOT LIKE 'opening/%'";
    let posted: i64 = sqlx::query_scalar(posted).fetch_one(&world.books().payment).await.unwrap();
    assert_eq!(posted, 2);
    for id in [undeliverable, unheard] {
        order(id, Verb::Close).await;
    }
    world.sound().await;
    forgetting.cancel();
    shutdown.cancel();
    forgetful.await.unwrap();
    running.await.unwrap();
}
