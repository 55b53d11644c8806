//! A rolling upgrade under load: version 2 of `place-order` arrives, version 1 goes, and nothing is lost.

use std::collections::BTreeMap;

use crate::support::orders::Order;
use crate::support::{SERVICES, World};
use futures_util::StreamExt;
use redress::{Engine, SagaDefinition, StartRequest, saga};
use redress_contracts::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, RefundPayment, ReleaseInventory, ReserveInventory,
    ShipOrder, StockLine,
};
use redress_sagas::{PlaceOrder, place_order};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Orders placed while one version runs, while both do, and after the old one has gone.
const ORDERS: usize = 100;

/// The next version: money and goods are asked for side by side.
fn place_order_2() -> SagaDefinition {
    let stock = |o: &PlaceOrder| {
        o.lines.iter().map(|l| StockLine { sku: l.sku.clone(), quantity: l.quantity }).collect()
    };
    saga::<PlaceOrder>("place-order", 2)
        .step("create-order", |o| CreateOrder {
            order: *o.order,
            customer: o.customer.clone(),
            lines: o.lines.clone(),
        })
        .compensate(|o| CancelOrder { order: *o.order })
        .parallel(|stage| {
            stage
                .step("charge-payment", |o| ChargePayment {
                    payment: *o.payment,
                    customer: o.customer.clone(),
                    amount: o.total(),
                    currency: o.currency.clone(),
                })
                .compensate(|o| RefundPayment { payment: *o.payment })
                .step("reserve-inventory", move |o| ReserveInventory {
                    reservation: *o.reservation,
                    lines: stock(o),
                })
                .compensate(|o| ReleaseInventory { reservation: *o.reservation })
        })
        .pivot("ship-order", |o| ShipOrder { shipment: *o.shipment, address: o.address.clone() })
        .retriable("confirm-order", |o| ConfirmOrder { order: *o.order })
        .build()
}

struct Running {
    engine: Engine,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn run(world: &World, definitions: Vec<SagaDefinition>) -> Running {
    let engine = world.engine(definitions).await;
    let shutdown = CancellationToken::new();
    let (running, token) = (engine.clone(), shutdown.clone());
    let task = tokio::spawn(async move { running.run(token).await });
    Running { engine, shutdown, task }
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("it drains");
    }
}

/// Places orders, as many at once as there are clients, and gives them with their versions.
async fn place(engine: &Engine, numbers: std::ops::Range<usize>) -> Vec<(Uuid, Order, u32)> {
    let start = async |number: usize| {
        // Side by side with a charge that is declined, a reservation may succeed or be fenced: either is right.
        let order = match Order::number(number) {
            Order::Fine => Order::Fine,
            Order::Unpayable | Order::Undeliverable => Order::Undeliverable,
        };
        let request = StartRequest {
            saga: "place-order".to_owned(),
            input: order.input(),
            key: format!("order-{number}"),
            ..StartRequest::default()
        };
        let started = engine.start_request(request).await.expect("the order is accepted");
        let view = engine.saga(started.id).await.expect("the journal answers").expect("it exists");
        (started.id.0, order, view.version)
    };
    futures_util::stream::iter(numbers).map(start).buffer_unordered(16).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_upgrade_under_load_loses_nothing() {
    let shared = redress::devstack::shared().await;
    let world = World::with(shared, 0, &[&SERVICES]).await;
    let old = run(&world, vec![place_order()]).await;
    let mut placed = place(&old.engine, 0..ORDERS).await;

    // Both versions run at once; the old coordinator goes on taking version 1, the new one takes version 2.
    let new = run(&world, vec![place_order(), place_order_2()]).await;
    let (first, second) =
        tokio::join!(place(&old.engine, ORDERS..2 * ORDERS), place(&new.engine, 2 * ORDERS..3 * ORDERS));
    placed.extend(first);
    placed.extend(second);
    old.stop().await;

    placed.extend(place(&new.engine, 3 * ORDERS..4 * ORDERS).await);
    let of_version = |version| placed.iter().filter(|(_, _, v)| *v == version).count();
    assert_eq!((of_version(1), of_version(2)), (2 * ORDERS, 2 * ORDERS));
    let orders: BTreeMap<Uuid, Order> = placed.iter().map(|(id, order, _)| (*id, *order)).collect();
    world.check(&orders).await;
    assert_eq!(new.engine.live().await.expect("the journal answers"), [], "version 1 can be deleted now");
    new.stop().await;
}
