//! `redress chaos` on the servers and services of a `redress up`, while orders run.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::support::check::unsound_histories;
use crate::support::orders::Order;
use crate::support::process::{CommandOutput, bare, run};
use crate::support::{PATIENCE, SERVICES, process_tree, until};
use futures_util::StreamExt;
use redress_services::audit::{Books, check};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use uuid::Uuid;

/// Orders of the test: they run for longer than it takes to disturb them.
const ORDERS: usize = 60;

/// A `redress up` with a data directory of its own.
struct Up {
    program: Child,
    data: tempfile::TempDir,
    url: String,
}

impl Up {
    async fn start(more: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = bare();
        command.args(["up", "--http", "127.0.0.1:0", "--data"]).arg(data.path()).args(more);
        let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap().expect("it listens");
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        Self { program, data, url }
    }

    /// Runs `redress chaos`.
    async fn chaos(&self, arguments: &[&str]) -> CommandOutput {
        let data = self.data.path().to_str().unwrap();
        run(&[&["chaos"][..], arguments, &["--data", data]].concat(), &[]).await
    }

    /// A disruption that is carried out: the ids of the process before and after.
    async fn disrupt(&self, arguments: &[&str]) -> (u64, u64) {
        let report = self.chaos(&[arguments, &["--output", "json"]].concat()).await.json();
        (report["process"].as_u64().unwrap(), report["process_after"].as_u64().unwrap())
    }

    /// A database of its Postgres.
    async fn database(&self, name: &str) -> PgPool {
        let places = redress::devstack::kept_places(self.data.path()).unwrap();
        let place = places.into_iter().find(|place| place.join("postgres.password").exists()).unwrap();
        let read = |file: PathBuf| std::fs::read_to_string(file).unwrap();
        let password = read(place.join("postgres.password"));
        let port = read(place.join("postgres/postmaster.pid")).lines().nth(3).unwrap().to_owned();
        let url = format!("postgres://redress:{}@127.0.0.1:{port}/{name}", password.trim());
        PgPool::connect(&url).await.unwrap()
    }

    async fn kill(mut self) {
        let pid = self.program.id().unwrap();
        let family = process_tree::of(pid);
        self.program.kill().await.unwrap();
        process_tree::gone(&family, pid).await;
    }
}

/// Starts an order, again and again with its key until it is accepted.
async fn place(http: reqwest::Client, url: String, number: usize) -> (Uuid, Order) {
    let order = Order::number(number);
    let body = json!({ "saga": "place-order", "input": order.input() });
    let key = format!("order-{number}");
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let accepted = async {
        loop {
            ticks.tick().await;
            let request = http.post(format!("{url}/v1/sagas")).header("Idempotency-Key", &key).json(&body);
            let Ok(answer) = request.send().await else { continue };
            let Ok(saga) = answer.json::<Value>().await else { continue };
            if let Some(id) = saga["id"].as_str().and_then(|id| id.parse().ok()) {
                break id;
            }
        }
    };
    let id = tokio::time::timeout(PATIENCE, accepted).await.expect("the order is accepted");
    (id, order)
}

async fn status(http: &reqwest::Client, url: &str, id: Uuid) -> Option<String> {
    let saga: Value = http.get(format!("{url}/v1/sagas/{id}")).send().await.ok()?.json().await.ok()?;
    saga["ended_at"].as_str()?;
    saga["status"].as_str().map(str::to_owned)
}

/// Servers and services are paused, killed and wiped under running orders: every order ends as it must, and the books
/// agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_outlive_every_disruption_by_chaos() {
    let up = Up::start(&["--processes"]).await;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let (client, url) = (http.clone(), up.url.clone());
    let placing = tokio::spawn(async move {
        let orders = futures_util::stream::iter(0..ORDERS);
        let placed = orders.map(|number| place(client.clone(), url.clone(), number)).buffer_unordered(4);
        placed.collect::<BTreeMap<Uuid, Order>>().await
    });
    let killed = |(before, after): (u64, u64)| assert_ne!(before, after, "another process serves");
    let paused = |(before, after): (u64, u64)| assert_eq!(before, after, "the same process goes on");
    killed(up.disrupt(&["kill", "postgres"]).await);
    paused(up.disrupt(&["pause", "nats", "--for", "2"]).await);
    killed(up.disrupt(&["wipe", "nats"]).await);
    killed(up.disrupt(&["kill", "service", "payment"]).await);
    paused(up.disrupt(&["pause", "service", "shipping", "--for", "1"]).await);
    paused(up.disrupt(&["pause", "postgres", "--for", "1"]).await);
    killed(up.disrupt(&["kill", "nats"]).await);
    let orders = placing.await.unwrap();
    assert_eq!(orders.len(), ORDERS);

    let mut ends = BTreeMap::new();
    for (id, order) in &orders {
        let end = until("the end of an order", async || status(&http, &up.url, *id).await).await;
        assert_eq!(end, order.end().0, "{order:?} {id}");
        ends.insert(*id, end);
    }
    let [order, payment, inventory, shipping] =
        [0, 1, 2, 3].map(|place| format!("redress_{}", SERVICES[place]));
    let books = Books {
        order: up.database(&order).await,
        payment: up.database(&payment).await,
        inventory: up.database(&inventory).await,
        shipping: up.database(&shipping).await,
    };
    assert_eq!(check(&books, &ends).await.unwrap(), Vec::<String>::new());
    assert_eq!(unsound_histories(&up.database("redress").await).await, Vec::<String>::new());
    up.kill().await;
}

/// What is refused says why and what to do, and `--dry-run` does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_touches_only_processes_of_its_own_up() {
    let up = Up::start(&[]).await;
    let nowhere = tempfile::tempdir().unwrap();
    let nowhere = nowhere.path().to_str().unwrap();
    let alone = run(&["chaos", "kill", "nats", "--data", nowhere], &[]).await;
    assert_eq!(alone.code, Some(69), "{}", alone.stderr);
    assert!(
        alone.stderr.contains("no `redress up` with private servers keeps its data in"),
        "{}",
        alone.stderr
    );
    for (arguments, message, remedy) in [
        (&["wipe", "postgres"][..], "Postgres holds the journal", "try: redress up --fresh"),
        (&["kill", "coordinator"][..], "runs in the process of `redress up` itself", "try: kill -9"),
        (&["kill", "service", "payment"][..], "run in its own process", "try: redress up --processes"),
        (&["wipe", "service", "payment"][..], "stores nothing outside its database", "try: kill it"),
    ] {
        let refused = up.chaos(arguments).await;
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(message) && refused.stderr.contains(remedy), "{}", refused.stderr);
    }
    let dry = up.chaos(&["kill", "postgres", "--dry-run"]).await;
    assert!(dry.stdout.starts_with("would kill postgres (process "), "{} {}", dry.stdout, dry.stderr);
    let planned = up.chaos(&["--for", "30", "--seed", "7", "--dry-run"]).await;
    let again = up.chaos(&["--for", "30", "--seed", "7", "--dry-run"]).await;
    assert_eq!((planned.code, &planned.stdout), (Some(0), &again.stdout));
    assert!(planned.stdout.contains("would ") && planned.stderr.contains("seed 7"), "{}", planned.stdout);

    // A pause of ten minutes ends with the program that made it.
    let data = up.data.path().to_str().unwrap().to_owned();
    let mut pause =
        bare().args(["chaos", "pause", "postgres", "--for", "600", "--data", &data]).spawn().unwrap();
    let health = format!("{}/readyz", up.url);
    until("Postgres is paused", async || {
        let ready = reqwest::Client::new().get(&health).timeout(Duration::from_secs(15)).send().await;
        (!ready.is_ok_and(|answer| answer.status().is_success())).then_some(())
    })
    .await;
    pause.kill().await.unwrap();
    up.kill().await;
}
