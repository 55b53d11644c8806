//! Tests that a broker that is away for longer than the patience of any policy, and comes back empty, is not taken for
//! a failure of the participants.
//!
//! The outage lasts 15 seconds here, and the timeouts and pauses of the saga are a fifth of what they are; with
//! `OUTAGE_FULL=1` it lasts 75 seconds, under those as they are. A step is tried for four fifths of the outage.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::World;
use crate::support::orders::Order;
use redress::devstack::StopMode;
use redress::{Config, Engine, SagaDefinition, StartRequest, Topology, Wire, WireConfig};
use redress_coordinator::OperatorRequest;
use redress_core::SagaId;
use redress_core::decide::{OperatorCommand, Verb};
use redress_sagas::place_order;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Orders per second, all the time.
const ORDERS_PER_SECOND: u64 = 20;
/// Seconds of orders before the broker dies, and after it is back.
const BEFORE_AND_AFTER: u64 = 3;
/// The longest that any saga may take once the broker is back.
const ALL_ENDED_AFTER: Duration = Duration::from_secs(30);

/// How long the acknowledgement of a publish is waited for.
const PUBLISH_TIMEOUT_MS: u64 = 5_000;

/// How long the broker is away, in seconds, and by how much time runs faster than the policies think.
fn outage() -> (u64, u64) {
    let is_full = std::env::var("OUTAGE_FULL").is_ok_and(|full| full == "1");
    if is_full { (75, 1) } else { (15, 5) }
}

/// `place-order` with policies that are so many times as impatient, and that end before an outage of so many seconds.
fn hurried(seconds: u64, times: u64) -> SagaDefinition {
    let mut definition = place_order();
    for step in &mut definition.steps {
        step.timeout_ms /= times;
        step.retry = step.retry.backoff(step.retry.backoff_ms / times, step.retry.backoff_ms_max / times);
        step.retry.tried_ms_max = step.retry.tried_ms_max.map(|_| seconds * 1_000 * 4 / 5);
    }
    definition
}

/// A connection on which a publish is given up so many times sooner.
async fn connected(world: &World, times: u64) -> Wire {
    let settings = WireConfig {
        ack_wait: Duration::from_secs(2),
        stream_bytes_max: 32 << 20,
        publish_timeout: Duration::from_millis(PUBLISH_TIMEOUT_MS / times),
        ..WireConfig::default()
    };
    let topology = Topology::new(&world.prefix).expect("the prefix is a name");
    Wire::connect(&world.stack.nats().url(), topology, settings).await.expect("NATS answers")
}

/// A coordinator inside the test, at work until it is stopped.
struct Coordinator {
    engine: Engine,
    running: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Coordinator {
    async fn start(world: &World, wire: Wire, definition: SagaDefinition) -> Self {
        let (_, url) = world.environment().swap_remove(0);
        let config = Config { timer_poll: Duration::from_millis(50), ..Config::new(url) };
        let engine = Engine::open(config, vec![definition], wire).await.expect("the coordinator opens");
        let shutdown = CancellationToken::new();
        let (at_work, token) = (engine.clone(), shutdown.clone());
        Self { engine, running: tokio::spawn(async move { at_work.run(token).await }), shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("it ends by itself");
    }

    async fn place(&self, key: String, order: Order) -> SagaId {
        let request = StartRequest {
            saga: "place-order".to_owned(),
            input: order.input(),
            key,
            ..StartRequest::default()
        };
        self.engine.start_request(request).await.expect("starts are accepted all the time").id
    }
}

/// Places so many orders, at the rate of them all.
async fn place(coordinator: &Coordinator, placed: &mut BTreeMap<SagaId, Order>, count: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / ORDERS_PER_SECOND));
    for _ in 0..count {
        ticks.tick().await;
        let number = placed.len();
        let order = Order::number(number);
        placed.insert(coordinator.place(format!("outage-{number}"), order).await, order);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_outage_undoes_no_order() {
    let (seconds, times) = outage();
    let world = World::on_own_servers_with(0).await;
    let wire = connected(&world, times).await;
    let coordinator = Coordinator::start(&world, wire.clone(), hurried(seconds, times)).await;
    let mut orders = BTreeMap::new();
    place(&coordinator, &mut orders, BEFORE_AND_AFTER * ORDERS_PER_SECOND).await;

    world.stack.nats().stop(StopMode::Kill).await.expect("NATS dies");
    place(&coordinator, &mut orders, seconds * ORDERS_PER_SECOND / 2).await;
    let regretted = coordinator.place("regretted".to_owned(), Order::Fine).await;
    let cancel = OperatorCommand {
        verb: Verb::Cancel,
        actor: "ann".to_owned(),
        reason: "changed her mind".to_owned(),
    };
    let cancel = OperatorRequest { command: cancel, if_match: None };
    coordinator.engine.operate(regretted, cancel).await.expect("a cancel is accepted, too");
    // A coordinator that begins in the middle of the outage knows nothing of the time before.
    coordinator.stop().await;
    let coordinator = Coordinator::start(&world, wire, hurried(seconds, times)).await;
    place(&coordinator, &mut orders, seconds * ORDERS_PER_SECOND / 2).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM saga_history")
        .fetch_one(world.journal())
        .await
        .expect("the journal answers");

    world.stack.nats().wipe_store().await.expect("NATS comes back");
    let back = Instant::now();
    let arriving = place(&coordinator, &mut orders, BEFORE_AND_AFTER * ORDERS_PER_SECOND);
    arriving.await;
    world.wait_for(orders.len() as i64 + 1).await;
    let took = back.elapsed();

    let mut undone = Vec::new();
    for (id, order) in &orders {
        let view = coordinator.engine.saga(*id).await.unwrap().expect("it is there");
        let view = serde_json::to_value(view).unwrap();
        if view["status"] != json!(order.end().0) {
            undone.push(format!("{id} {order:?}: {} {}", view["status"], view["cause"]));
        }
    }
    println!(
        "{seconds} s away, {} orders, {} rows of history in the end of it, all ended {:.1} s after it was back",
        orders.len(),
        rows,
        took.as_secs_f64()
    );
    assert_eq!(undone, Vec::<String>::new(), "{} of {}", undone.len(), orders.len());
    let view = serde_json::to_value(coordinator.engine.saga(regretted).await.unwrap()).unwrap();
    assert_eq!(view["cause"]["kind"], json!("cancelled"), "{view}");
    assert!(took <= ALL_ENDED_AFTER, "the last saga ended {took:?} after the broker was back");
    // A few rows for each saga, however long it lasts.
    assert!(rows < 12 * orders.len() as i64, "{rows} rows");
    world.sound().await;
    coordinator.stop().await;
}
