//! The shapes that a saga may have beyond the sequence, each led to its end by the four services on real servers.

use std::time::Duration;

use crate::support::{SERVICES, World};
use futures_util::{FutureExt, StreamExt};
use redress::{Command, LateSuccess, RetryPolicy, SagaDefinition, StartRequest, saga};
use redress_contracts::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, OrderLine, RefundPayment, ReleaseInventory,
    ReserveInventory, ShipOrder, StockLine,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Sale {
    customer: String,
    address: String,
    sku: String,
    /// Sold over the counter: no order is written.
    #[serde(default)]
    over_the_counter: bool,
    #[serde(default = "Uuid::now_v7")]
    order: Uuid,
    #[serde(default = "Uuid::now_v7")]
    payment: Uuid,
    #[serde(default = "Uuid::now_v7")]
    shipment: Uuid,
    #[serde(default = "Uuid::now_v7")]
    reservation: Uuid,
    #[serde(default)]
    goods: Goods,
}

/// The data of the nested saga.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Goods {
    #[serde(default = "Uuid::now_v7")]
    reservation: Uuid,
}

impl Goods {
    fn reserve(&self) -> ReserveInventory {
        let lines = vec![StockLine { sku: "book".to_owned(), quantity: 2 }];
        ReserveInventory { reservation: self.reservation, lines }
    }
}

impl Default for Goods {
    fn default() -> Self {
        Self { reservation: Uuid::now_v7() }
    }
}

/// Two of a thing, at 15.00 each.
impl Sale {
    fn create(&self) -> CreateOrder {
        let lines = vec![OrderLine { sku: self.sku.clone(), quantity: 2, unit_price: 1_500 }];
        CreateOrder { order: self.order, customer: self.customer.clone(), lines }
    }

    fn charge(&self) -> ChargePayment {
        let (customer, currency) = (self.customer.clone(), "EUR".to_owned());
        ChargePayment { payment: self.payment, customer, amount: 3_000, currency }
    }

    fn reserve(&self) -> ReserveInventory {
        let lines = vec![StockLine { sku: self.sku.clone(), quantity: 2 }];
        ReserveInventory { reservation: self.reservation, lines }
    }

    fn ship(&self) -> ShipOrder {
        ShipOrder { shipment: self.shipment, address: self.address.clone() }
    }
}

/// A notification: its participant is told and does not reply.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ShowSale {
    order: Uuid,
}

impl Command for ShowSale {
    const SERVICE: &'static str = "dashboard";
    const NAME: &'static str = "show-sale";
    type Reply = ();
}

/// Money and goods side by side, steps on a condition, and a notified participant.
#[rustfmt::skip] // A saga reads as a table.
fn side_by_side() -> SagaDefinition {
    saga::<Sale>("sell-side-by-side", 1)
        .step("create-order", Sale::create)
            .compensate(|s| CancelOrder { order: s.order })
            .when(|s| !s.over_the_counter)
        .parallel(|stage| stage
            .step("charge-payment", Sale::charge)
                .compensate(|s| RefundPayment { payment: s.payment })
            .step("reserve-inventory", Sale::reserve)
                .compensate(|s| ReleaseInventory { reservation: s.reservation }))
        .pivot("ship-order", Sale::ship)
        .notify("show-sale", |s| ShowSale { order: s.order })
        .retriable("confirm-order", |s| ConfirmOrder { order: s.order })
            .when(|s| !s.over_the_counter)
        .build()
}

/// The goods are a saga of their own inside this one.
#[rustfmt::skip]
fn nested() -> SagaDefinition {
    let goods = saga::<Goods>("hold-goods", 1)
        .step("reserve", Goods::reserve)
            .compensate(|g| ReleaseInventory { reservation: g.reservation })
        .build();
    saga::<Sale>("sell-nested", 1)
        .step("create-order", Sale::create)
            .compensate(|s| CancelOrder { order: s.order })
        .saga("goods", goods, |s| &mut s.goods)
        .step("charge-payment", Sale::charge)
            .compensate(|s| RefundPayment { payment: s.payment })
        .pivot("ship-order", Sale::ship)
        .retriable("confirm-order", |s| ConfirmOrder { order: s.order })
        .build()
}

/// Goods that are late are not wanted any more, and no step may take longer than this.
#[rustfmt::skip]
fn in_time() -> SagaDefinition {
    saga::<Sale>("sell-in-time", 1)
        .step("create-order", Sale::create)
            .compensate(|s| CancelOrder { order: s.order })
        .step("reserve-inventory", Sale::reserve)
            .timeout(Duration::from_millis(300))
            .retry(RetryPolicy::ACTION.attempts(1))
            .compensate(|s| ReleaseInventory { reservation: s.reservation })
            .late_success(LateSuccess::Compensate)
        .step("charge-payment", Sale::charge)
            .compensate(|s| RefundPayment { payment: s.payment })
        .pivot("ship-order", Sale::ship)
        .deadline(Duration::from_millis(2_500))
        .build()
}

/// A sale, the fault that is injected, and the end that is expected.
struct Case {
    name: &'static str,
    saga: &'static str,
    change: Value,
    faults: Value,
    /// Status, cause (kind and code), and the undone steps, in this order.
    ends: &'static str,
}

const SIDE_BY_SIDE: &str = "sell-side-by-side";
const NESTED: &str = "sell-nested";
const IN_TIME: &str = "sell-in-time";

fn case(name: &'static str, saga: &'static str, change: Value, faults: Value, ends: &'static str) -> Case {
    Case { name, saga, change, faults, ends }
}

fn none() -> Value {
    json!([])
}

fn cases() -> Vec<Case> {
    [cases_side_by_side(), cases_nested_and_in_time()].into_iter().flatten().collect()
}

fn cases_side_by_side() -> Vec<Case> {
    // Long enough for the one beside it to be done first.
    let slow_money = json!([{ "step": "charge-payment", "kind": "delay", "ms": 700 }]);
    vec![
        case("all is well", SIDE_BY_SIDE, json!({}), none(), "completed"),
        case(
            "steps on a condition are skipped",
            SIDE_BY_SIDE,
            json!({ "over_the_counter": true }),
            none(),
            "completed",
        ),
        case(
            "skipped steps are not undone",
            SIDE_BY_SIDE,
            json!({ "over_the_counter": true, "address": "3 Coral Reef, Atlantis" }),
            none(),
            "compensated (rejected address-undeliverable): reserve-inventory, charge-payment",
        ),
        case(
            "one branch fails while its sibling is done",
            SIDE_BY_SIDE,
            json!({ "customer": "bob" }),
            slow_money,
            "compensated (rejected insufficient-funds): reserve-inventory, create-order",
        ),
        case(
            "both branches fail",
            SIDE_BY_SIDE,
            json!({ "customer": "bob", "sku": "unicorn" }),
            json!([{ "step": "charge-payment", "kind": "delay", "ms": 700 }]),
            "compensated (rejected unknown-sku): create-order",
        ),
        case(
            "both branches are undone in reverse",
            SIDE_BY_SIDE,
            json!({ "address": "3 Coral Reef, Atlantis" }),
            none(),
            "compensated (rejected address-undeliverable): reserve-inventory, charge-payment, create-order",
        ),
    ]
}

fn cases_nested_and_in_time() -> Vec<Case> {
    let unheard = |step| json!([{ "step": step, "kind": "drop-reply" }]);
    vec![
        case("a saga inside a saga", NESTED, json!({}), none(), "completed"),
        case(
            "a saga inside a saga is undone with its parent",
            NESTED,
            json!({ "address": "3 Coral Reef, Atlantis" }),
            none(),
            "compensated (rejected address-undeliverable): charge-payment, goods-reserve, create-order",
        ),
        case(
            "a success that comes too late is undone",
            IN_TIME,
            json!({}),
            unheard("reserve-inventory"),
            "compensated (late-success late-success): reserve-inventory, create-order",
        ),
        case(
            "the time is up",
            IN_TIME,
            json!({}),
            unheard("create-order"),
            "compensated (deadline deadline-passed): create-order",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_holds_or_is_made_good() {
    let world = World::with(redress::devstack::shared().await, 0, &[&SERVICES]).await;
    let nats = world.nats().await;
    let mut told = nats.subscribe(format!("{}.notify.dashboard.show-sale", world.prefix)).await.unwrap();
    nats.flush().await.unwrap();
    let engine = world.engine(vec![side_by_side(), nested(), in_time()]).await;
    let shutdown = CancellationToken::new();
    let (running, token) = (engine.clone(), shutdown.clone());
    let running = tokio::spawn(async move { running.run(token).await });

    let mut started = Vec::new();
    for case in cases() {
        let mut input =
            json!({ "customer": "alice", "address": "1 Harbour Street, Reykjavik", "sku": "book" });
        input.as_object_mut().unwrap().extend(case.change.as_object().unwrap().clone());
        let request = StartRequest {
            saga: case.saga.to_owned(),
            input,
            key: case.name.replace(' ', "-"),
            faults: Some(case.faults.clone()),
            ..StartRequest::default()
        };
        started.push((case, engine.start_request(request).await.unwrap().id));
    }
    for (case, id) in &started {
        let view = engine.wait_ended(*id, crate::support::PATIENCE).await.unwrap().unwrap();
        let view = serde_json::to_value(view).unwrap();
        let mut end = view["status"].as_str().unwrap().to_owned();
        if let Some(cause) = view["cause"].as_object() {
            end += &format!(" ({} {})", cause["kind"].as_str().unwrap(), cause["code"].as_str().unwrap());
            end += &format!(": {}", world.undone_of(id.0).await.join(", "));
        }
        assert_eq!(end, case.ends, "{}", case.name);
    }
    world.sound().await;
    // Once each, and only of the sales side by side; every message that was sent has come before the answer to the
    // flush.
    nats.flush().await.unwrap();
    let mut shown = 0;
    while let Some(Some(_)) = told.next().now_or_never() {
        shown += 1;
    }
    assert_eq!(shown, 2, "who is told hears of each sale once");
    shutdown.cancel();
    running.await.unwrap();
}
