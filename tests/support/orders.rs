//! Orders as a client places them: with a key, and again until there is an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::Row;
use uuid::Uuid;

use super::{PATIENCE, World, until};

/// The kinds of orders, by the end that they must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Fine,
    Unpayable,
    Undeliverable,
}

impl Order {
    /// Seven of ten are fine.
    pub(crate) fn number(number: usize) -> Self {
        match number % 10 {
            3 | 9 => Self::Undeliverable,
            7 => Self::Unpayable,
            _ => Self::Fine,
        }
    }

    pub(crate) fn input(self) -> Value {
        let (customer, address) = match self {
            Self::Fine => ("alice", "1 Harbour Street, Reykjavik"),
            Self::Unpayable => ("bob", "2 Mill Lane, Bree"),
            Self::Undeliverable => ("alice", "3 Coral Reef, Atlantis"),
        };
        json!({
            "customer": customer, "currency": "EUR", "address": address,
            "lines": [{ "sku": "book", "quantity": 2, "unit_price": 1500 }],
        })
    }

    /// Status and steps that are undone, in this order.
    pub(crate) fn end(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Fine => ("completed", &[]),
            Self::Unpayable => ("compensated", &["create-order"]),
            Self::Undeliverable => ("compensated", &["reserve-inventory", "charge-payment", "create-order"]),
        }
    }
}

/// Places so many orders, sixteen at once, each again with its key until it is accepted. Runs in the background.
pub(crate) struct Placing {
    task: tokio::task::JoinHandle<BTreeMap<Uuid, Order>>,
}

impl Placing {
    pub(crate) fn begin(world: &World, count: usize) -> Self {
        let http = world.http.clone();
        let journal = Arc::new(Addresses::of(world));
        let prefix = world.prefix.clone();
        let task = tokio::spawn(async move {
            futures_util::stream::iter(0..count)
                .map(|number| {
                    place(http.clone(), journal.clone(), format!("{prefix}-{number}"), Order::number(number))
                })
                .buffer_unordered(16)
                .collect()
                .await
        });
        Self { task }
    }

    /// All orders that were accepted, by their saga.
    pub(crate) async fn accepted(self) -> BTreeMap<Uuid, Order> {
        self.task.await.expect("placing does not panic")
    }
}

/// The present addresses of the coordinators: a replaced one has another port.
pub(crate) struct Addresses(std::sync::Mutex<Vec<String>>);

static ADDRESSES: std::sync::LazyLock<std::sync::Mutex<BTreeMap<String, Vec<String>>>> =
    std::sync::LazyLock::new(Default::default);

impl Addresses {
    fn of(world: &World) -> Self {
        world.announce();
        Self(std::sync::Mutex::new(vec![world.prefix.clone()]))
    }

    fn any(&self, turn: usize) -> Option<String> {
        let prefix = self.0.lock().expect("nobody panics while holding it")[0].clone();
        let known = ADDRESSES.lock().expect("nobody panics while holding it");
        let urls = known.get(&prefix)?;
        urls.get(turn % urls.len().max(1)).cloned()
    }
}

impl World {
    /// Tells the clients of this world where its coordinators listen.
    pub(crate) fn announce(&self) {
        let urls =
            self.coordinators.iter().map(|c| c.says.trim_start_matches("listening on ").to_owned()).collect();
        ADDRESSES.lock().expect("nobody panics while holding it").insert(self.prefix.clone(), urls);
    }

    /// How many sagas have ended.
    pub(crate) async fn ended(&self) -> i64 {
        until("an answer of the journal", async || {
            let row = sqlx::query("SELECT count(*) AS ended FROM sagas WHERE ended_at IS NOT NULL")
                .fetch_one(self.journal())
                .await
                .ok()?;
            row.try_get("ended").ok()
        })
        .await
    }

    /// Waits until so many sagas have ended.
    pub(crate) async fn wait_for(&self, count: i64) {
        until(&format!("the end of {count} sagas"), async || (self.ended().await >= count).then_some(()))
            .await;
    }

    /// Starts one saga over HTTP, without waiting for its end.
    pub(crate) async fn start_saga(&self, body: &Value, key: &str) -> reqwest::Response {
        let request = self.http.post(self.url("/v1/sagas")).header("Idempotency-Key", key).json(body);
        request.send().await.expect("the coordinator answers")
    }

    /// Starts one saga, and comes again with the same key while the coordinator says that it cannot now.
    pub(crate) async fn accepted_saga(&self, body: &Value, key: &str) -> Value {
        until("the saga is accepted", async || {
            let response = self.start_saga(body, key).await;
            let status = response.status().as_u16();
            let text = response.text().await.expect("the answer is whole");
            assert!(matches!(status, 202 | 503), "{status}: {text}");
            (status == 202).then(|| serde_json::from_str(&text).expect("the answer is JSON"))
        })
        .await
    }
}

async fn place(http: reqwest::Client, addresses: Arc<Addresses>, key: String, order: Order) -> (Uuid, Order) {
    let body = json!({ "saga": "place-order", "input": order.input() });
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let begun = tokio::time::Instant::now();
    for turn in 0.. {
        ticks.tick().await;
        assert!(begun.elapsed() < PATIENCE, "never came: the acceptance of {key}");
        let Some(url) = addresses.any(turn) else { continue };
        let request = http.post(format!("{url}/v1/sagas")).header("Idempotency-Key", &key).json(&body);
        let Ok(response) = request.send().await else { continue };
        if response.status() != 202 {
            continue;
        }
        let Ok(saga) = response.json::<Value>().await else { continue };
        if let Some(id) = saga["id"].as_str().and_then(|id| id.parse().ok()) {
            return (id, order);
        }
    }
    unreachable!("the loop ends by an answer or a panic")
}
