//! Steps that are delivered at least once, through a whole installation: their service has no database, is killed and started
//! again, and is never asked what became of a command.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{World, until};
use redress::{
    Answer, Command, Delivery, Engine, OperatorCommand, OperatorRequest, ParticipantConfig, Received,
    RetryPolicy, SagaDefinition, SagaId, SagaView, Service, ServiceConfig, StartRequest, Topology, Tx,
    Undone, Verb, Wire, WireConfig, done, saga, service,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Offer {
    grams: u32,
    #[serde(default)]
    cents: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "stock", name = "reserve", crate = ::redress)]
struct Reserve {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "stock", name = "release", compensates = Reserve, crate = ::redress)]
struct Release {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "prices", name = "quote", reply = u32, crate = ::redress)]
struct Quote {
    grams: u32,
}

#[rustfmt::skip] // A saga reads as a table.
fn offer() -> SagaDefinition {
    saga::<Offer>("offer", 1)
        .step("reserve", |_| Reserve {})
            .compensate(|_| Release {})
        .step("quote", |o| Quote { grams: o.grams })
            .on_reply(|o, cents| o.cents = Some(cents))
            .no_compensation()
            .delivery(Delivery::AtLeastOnce)
        .build()
}

/// The same, of less patience.
#[rustfmt::skip] // A saga reads as a table.
fn hasty_offer() -> SagaDefinition {
    saga::<Offer>("hasty-offer", 1)
        .step("reserve", |_| Reserve {})
            .compensate(|_| Release {})
        .step("quote", |o| Quote { grams: o.grams })
            .no_compensation()
            .timeout(Duration::from_millis(200))
            .retry(RetryPolicy::ACTION.attempts(3))
            .delivery(Delivery::AtLeastOnce)
        .build()
}

#[derive(Clone)]
struct Stock;

#[service("stock", crate = ::redress)]
impl Stock {
    #[action]
    async fn reserve(&self, _: &mut Tx<'_>, _: Reserve) -> Answer<()> {
        done(())
    }

    #[compensation(of = reserve)]
    async fn release(&self, _: &mut Tx<'_>, _: Release) -> Undone<()> {
        Ok(())
    }
}

/// Computes; it has nothing to remember.
#[derive(Clone)]
struct Prices {
    runs: Arc<AtomicUsize>,
    /// A run ends when it gets a permit.
    leave: Arc<Semaphore>,
}

#[service("prices", crate = ::redress)]
impl Prices {
    #[action(at_least_once)]
    async fn quote(&self, _: &Received, command: Quote) -> Answer<u32> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.leave.acquire().await?.forget();
        done(300 + command.grams / 10)
    }
}

fn prices() -> Prices {
    Prices { runs: Arc::default(), leave: Arc::new(Semaphore::new(0)) }
}

/// The installation: an engine, the stock with its inbox, and room for the service without a database.
struct Office {
    world: World,
    engine: Engine,
    stop: CancellationToken,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Office {
    async fn open() -> Self {
        let world = World::with(redress::devstack::shared().await, 0, &[]).await;
        drop(world.pool_of("stock").await);
        let engine = world.engine(vec![offer(), hasty_offer()]).await;
        let stop = CancellationToken::new();
        let (running, of_engine, of_stock) = (engine.clone(), stop.clone(), stop.clone());
        let (database, wire) = (world.database_of("stock"), world.wire().await);
        let running = vec![
            tokio::spawn(async move { running.run(of_engine).await }),
            tokio::spawn(async move {
                let stock = Service::without_tables(Stock);
                stock.run(&database, wire, ServiceConfig::default(), of_stock).await.unwrap();
            }),
        ];
        Self { world, engine, stop, running }
    }

    /// Serves the prices until the office closes.
    async fn serve(&mut self, prices: Prices) {
        let (service, stop, wire) =
            (Service::without_tables(prices), self.stop.clone(), self.world.wire().await);
        self.running.push(tokio::spawn(async move {
            service.serve_without_database(wire, ParticipantConfig::default(), stop).await.unwrap();
        }));
    }

    /// Serves the prices in a runtime of its own, which is gone, as after SIGKILL, once a handler runs.
    async fn serve_and_kill(&self, prices: Prices) {
        let (nats, prefix) = (self.world.stack.nats().url(), self.world.prefix.clone());
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let settings = WireConfig {
                    ack_wait: Duration::from_secs(2),
                    stream_bytes_max: 32 << 20,
                    ..WireConfig::default()
                };
                let wire = Wire::connect(&nats, Topology::new(&prefix).unwrap(), settings).await.unwrap();
                let service = Service::without_tables(prices.clone());
                let config = ParticipantConfig::default();
                let serving = service.start_without_database(wire, config, CancellationToken::new()).1;
                tokio::spawn(serving);
                until("it runs", async || (prices.runs.load(Ordering::SeqCst) > 0).then_some(())).await;
            });
            runtime.shutdown_background();
        });
        tokio::task::spawn_blocking(|| process.join().unwrap()).await.unwrap();
    }

    async fn start(&self, saga: &str) -> SagaId {
        let request = StartRequest {
            saga: saga.to_owned(),
            input: json!({ "grams": 500 }),
            key: saga.to_owned(),
            ..StartRequest::default()
        };
        self.engine.start_request(request).await.unwrap().id
    }

    async fn ended(&self, id: SagaId) -> SagaView {
        self.engine.wait_ended(id, crate::support::PATIENCE).await.unwrap();
        self.saga(id).await
    }

    async fn saga(&self, id: SagaId) -> SagaView {
        self.engine.saga(id).await.unwrap().unwrap()
    }

    async fn events(&self, id: SagaId, step: &str) -> Vec<String> {
        let rows = sqlx::query_scalar(
            "SELECT event || ' ' || phase FROM saga_history WHERE saga_id = $1 AND step = $2 ORDER BY seq",
        );
        rows.bind(id.0).bind(step).fetch_all(self.world.journal()).await.unwrap()
    }

    async fn close(self) {
        self.world.sound_histories().await;
        self.stop.cancel();
        for task in self.running {
            task.await.unwrap();
        }
    }
}

fn status(saga: &SagaView, step: &str) -> &'static str {
    saga.steps.iter().find(|it| it.name == step).unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_without_database_is_killed_and_its_command_delivered_to_the_next_one() {
    let mut office = Office::open().await;
    let dying = prices();
    let id = office.start("offer").await;
    office.serve_and_kill(dying.clone()).await;
    let next = prices();
    next.leave.add_permits(100);
    office.serve(next.clone()).await;
    let saga = office.ended(id).await;
    assert_eq!((saga.status, status(&saga, "quote")), ("completed", "succeeded"));
    assert_eq!(saga.steps[1].delivery, Some("at-least-once"));
    assert!(dying.runs.load(Ordering::SeqCst) >= 1 && next.runs.load(Ordering::SeqCst) >= 1);
    // The finding: every service needed a database of its own.
    let of_prices =
        "SELECT count(*) FROM pg_database WHERE datname LIKE '%' || current_database() || '_prices'";
    let databases: i64 = sqlx::query_scalar(of_prices).fetch_one(office.world.journal()).await.unwrap();
    assert_eq!(databases, 0);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_of_a_saga_leaves_an_open_at_least_once_step_in_doubt_and_undoes_the_rest() {
    let mut office = Office::open().await;
    let slow = prices();
    office.serve(slow.clone()).await;
    let id = office.start("offer").await;
    until("it runs", async || (slow.runs.load(Ordering::SeqCst) > 0).then_some(())).await;
    let command = OperatorCommand {
        verb: Verb::Cancel,
        actor: "ann".to_owned(),
        reason: "not needed any more".to_owned(),
    };
    office.engine.operate(id, OperatorRequest { command, if_match: None }).await.unwrap();
    let saga = office.ended(id).await;
    assert_eq!(
        (saga.status, status(&saga, "quote"), status(&saga, "reserve")),
        ("compensated", "in-doubt", "compensated")
    );
    // Its answer comes now, and changes nothing.
    slow.leave.add_permits(100);
    until("the late answer", async || {
        office.events(id, "quote").await.contains(&"late action".to_owned()).then_some(())
    })
    .await;
    let events = office.events(id, "quote").await;
    assert!(!events.iter().any(|event| event.contains("settlement")), "{events:?}");
    assert_eq!(status(&office.saga(id).await, "quote"), "in-doubt");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_once_step_is_sent_again_and_then_left_in_doubt_while_its_service_is_away() {
    let office = Office::open().await;
    let id = office.start("hasty-offer").await;
    let saga = office.ended(id).await;
    assert_eq!(
        (saga.status, status(&saga, "quote"), status(&saga, "reserve")),
        ("compensated", "in-doubt", "compensated")
    );
    assert_eq!(saga.cause.unwrap().kind.as_str(), "in-doubt");
    let sent = office.events(id, "quote").await.iter().filter(|event| *event == "sent action").count();
    assert_eq!(sent, 3, "as often as its policy says");
    office.close().await;
}
