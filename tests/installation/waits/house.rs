//! The house whose expenses wait: definitions, the service that pays, and an installation with an API.

use std::time::Duration;

use redress::{
    Answer, Command, Config, Engine, SagaDefinition, Service, ServiceConfig, StartRequest, Topology, Tx,
    Undone, Wire, WireConfig, done, saga, service,
};
use redress_api::Access;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, World, until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);
/// Over at once.
const SHORT: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Expense {
    amount: i64,
    #[serde(default)]
    pause_ms: u64,
    #[serde(default)]
    approved_by: Option<String>,
}

/// The event.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Approval {
    pub(crate) by: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cashier", name = "reserve", crate = ::redress)]
struct Reserve {
    amount: i64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cashier", name = "release", compensates = Reserve, crate = ::redress)]
struct Release {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cashier", name = "pay", crate = ::redress)]
struct Pay {
    amount: i64,
}

/// Waits for its approval, and then cools off.
#[rustfmt::skip] // A saga reads as a table.
fn expense() -> SagaDefinition {
    saga::<Expense>("expense", 1)
        .step("reserve", |e| Reserve { amount: e.amount })
            .compensate(|_| Release {})
        .await_event::<Approval>("approval", LONG)
            .on_event(|e, approval| e.approved_by = Some(approval.by))
        .wait("cool-off", |e| Duration::from_millis(e.pause_ms))
        .pivot("pay", |e| Pay { amount: e.amount })
        .build()
}

/// Turns back if its approval does not come at once.
#[rustfmt::skip] // A saga reads as a table.
fn hasty() -> SagaDefinition {
    saga::<Expense>("hasty", 1)
        .step("reserve", |e| Reserve { amount: e.amount })
            .compensate(|_| Release {})
        .await_event::<Approval>("approval", SHORT)
            .on_event(|e, approval| e.approved_by = Some(approval.by))
            .or_turn_back()
        .pivot("pay", |e| Pay { amount: e.amount })
        .build()
}

/// Goes on if its approval does not come at once, and then waits for a receipt.
#[rustfmt::skip] // A saga reads as a table.
fn relaxed() -> SagaDefinition {
    saga::<Expense>("relaxed", 1)
        .await_event::<Approval>("approval", SHORT)
            .on_event(|e, approval| e.approved_by = Some(approval.by))
            .or_go_on()
        .pivot("pay", |e| Pay { amount: e.amount })
        .await_event::<Approval>("receipt", LONG)
        .build()
}

/// Has a deadline that comes before any approval.
#[rustfmt::skip] // A saga reads as a table.
fn rushed() -> SagaDefinition {
    saga::<Expense>("rushed", 1)
        .step("reserve", |e| Reserve { amount: e.amount })
            .compensate(|_| Release {})
        .await_event::<Approval>("approval", LONG)
        .pivot("pay", |e| Pay { amount: e.amount })
        .deadline(Duration::from_millis(500))
        .build()
}

fn definitions() -> Vec<SagaDefinition> {
    vec![expense(), hasty(), relaxed(), rushed()]
}

#[derive(Clone)]
struct Cashier;

#[service("cashier", crate = ::redress)]
impl Cashier {
    #[action]
    async fn reserve(&self, _: &mut Tx<'_>, _: Reserve) -> Answer<()> {
        done(())
    }

    #[compensation(of = reserve)]
    async fn release(&self, _: &mut Tx<'_>, _: Release) -> Undone<()> {
        Ok(())
    }

    #[action(no_compensation)]
    async fn pay(&self, _: &mut Tx<'_>, _: Pay) -> Answer<()> {
        done(())
    }
}

/// The installation, with its engine behind HTTP. The cashier comes when it is called.
pub(crate) struct House {
    pub(crate) world: World,
    pub(crate) engine: Engine,
    pub(crate) url: String,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

impl House {
    pub(crate) async fn open() -> Self {
        let world = World::with(redress::devstack::shared().await, 0, &[]).await;
        let engine = world.engine(definitions()).await;
        let stop = CancellationToken::new();
        let listener = redress_api::bind("127.0.0.1:0".parse().unwrap(), &Access::Loopback).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (api, of_api) = (engine.clone(), stop.clone());
        let serving = tokio::spawn(async move {
            redress_api::serve(listener, api, Access::Loopback, of_api).await.unwrap();
        });
        Self { world, engine, url, stop, running: vec![serving] }
    }

    /// Lets sagas move, with the cashier there.
    pub(crate) async fn busy() -> Self {
        let mut house = Self::open().await;
        house.run();
        house.call_the_cashier().await;
        house
    }

    pub(crate) fn run(&mut self) {
        let (engine, stop) = (self.engine.clone(), self.stop.clone());
        self.running.push(tokio::spawn(async move { engine.run(stop).await }));
    }

    pub(crate) async fn call_the_cashier(&mut self) {
        self.world.pool_of("cashier").await;
        let (database, wire) = (self.world.database_of("cashier"), self.world.wire().await);
        let stop = self.stop.clone();
        self.running.push(tokio::spawn(async move {
            let service = Service::of(Cashier, || None);
            service.run(&database, wire, ServiceConfig::default(), stop).await.unwrap();
        }));
    }

    /// A coordinator in a runtime of its own, which is killed with it.
    pub(crate) async fn doomed_coordinator(&self) -> tokio::runtime::Runtime {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (nats, prefix) = (self.world.stack.nats().url(), self.world.prefix.clone());
        let journal = self.world.stack.postgres().url(&self.world.prefix.replace('-', "_"));
        let opened = runtime.spawn(async move {
            let settings = WireConfig { stream_bytes_max: 32 << 20, ..WireConfig::default() };
            let wire = Wire::connect(&nats, Topology::new(&prefix).unwrap(), settings).await.unwrap();
            let config = Config { timer_poll: Duration::from_millis(50), ..Config::new(journal) };
            let engine = Engine::open(config, definitions(), wire).await.unwrap();
            tokio::spawn(async move { engine.run(CancellationToken::new()).await });
        });
        opened.await.unwrap();
        runtime
    }

    pub(crate) async fn start(&self, saga: &str, key: &str, more: Value) -> String {
        self.start_with_tag(saga, key, more, None).await
    }

    pub(crate) async fn start_with_tag(
        &self,
        saga: &str,
        key: &str,
        more: Value,
        tag: Option<(&str, &str)>,
    ) -> String {
        let mut input = json!({ "amount": 7 });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = StartRequest {
            saga: saga.to_owned(),
            input,
            key: key.to_owned(),
            tags: tag.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ..StartRequest::default()
        };
        self.engine.start_request(request).await.unwrap().id.to_string()
    }

    /// An expense whose approval is awaited.
    pub(crate) async fn awaiting(&self, key: &str) -> String {
        let id = self.start("expense", key, json!({})).await;
        self.comes_to(&id, "approval", "awaiting").await;
        id
    }

    pub(crate) async fn saga(&self, id: &str) -> Value {
        let response = self.world.http.get(format!("{}/v1/sagas/{id}", self.url)).send().await.unwrap();
        response.json().await.unwrap()
    }

    pub(crate) async fn step(&self, id: &str, step: &str) -> Value {
        let saga = self.saga(id).await;
        saga["steps"].as_array().unwrap().iter().find(|it| it["name"] == step).unwrap().clone()
    }

    pub(crate) async fn comes_to(&self, id: &str, step: &str, status: &str) {
        until(status, async || (self.step(id, step).await["status"] == status).then_some(())).await;
    }

    /// How a saga ended, and what its data say of the approval.
    pub(crate) async fn end_of(&self, id: &str) -> (String, Value) {
        self.engine.wait_ended(id.parse().unwrap(), PATIENCE).await.unwrap();
        let saga = self.saga(id).await;
        (saga["status"].as_str().unwrap().to_owned(), saga["data"]["approved_by"].clone())
    }

    /// Sends an event over HTTP; the status, and the verdict or the problem with its code.
    pub(crate) async fn send(&self, id: &str, name: &str, key: &str, data: Value) -> (u16, String) {
        let (status, answer) = self.post(&format!("/v1/sagas/{id}/events/{name}"), key, data).await;
        let problem = answer["type"].as_str().map(|problem| problem.replace("/problems/", ""));
        let code = answer["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
        let said = problem.or_else(|| answer["verdict"].as_str().map(str::to_owned));
        (status, format!("{}{code}", said.unwrap_or_default()))
    }

    pub(crate) async fn approve(&self, id: &str, key: &str, by: &str) -> (u16, String) {
        self.send(id, "approval", key, json!({ "by": by })).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, data: Value) -> (u16, Value) {
        let request = self.world.http.post(format!("{}{path}", self.url)).header("idempotency-key", key);
        let response = request.json(&json!({ "data": data })).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The events of a saga's history.
    pub(crate) async fn history(&self, id: &str) -> Vec<String> {
        let events = sqlx::query_scalar("SELECT event FROM saga_history WHERE saga_id = $1 ORDER BY seq");
        events.bind(id.parse::<uuid::Uuid>().unwrap()).fetch_all(self.world.journal()).await.unwrap()
    }

    /// Runs the command line against this house: its exit code, and what it printed.
    pub(crate) async fn redress(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let environment = [("REDRESS_URL", self.url.clone())];
        let output = crate::support::process::run(arguments, &environment).await;
        (output.code, format!("{}{}", output.stdout, output.stderr))
    }

    pub(crate) async fn close(self) {
        self.world.sound_histories().await;
        self.stop.cancel();
        for task in self.running {
            task.await.unwrap();
        }
    }
}
