//! Clients that order: each start has a key of its own and is made again with it until it is accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Book, Entry, Leave};
use super::rest;
use super::support::orders::Order;
use super::yard::Yard;

/// How long an accepted answer may be in coming: longer than any disruption, or several in a row.
const PATIENCE: Duration = Duration::from_secs(300);
/// The pauses between two tries.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_secs(1)];
/// Starts that may wait for their answer at once; an order beyond them is left out and counted.
const WAITING_MAX: usize = 1_000;
/// The pulse of the open loop.
const PULSE: Duration = Duration::from_millis(20);
/// How many sagas are under way in the calibration.
const IN_FLIGHT: usize = 200;

/// All clients that place orders, and the operators.
pub(crate) struct Clients {
    pub(crate) http: reqwest::Client,
    pub(crate) yard: Arc<Yard>,
    pub(crate) book: Arc<Book>,
    turn: AtomicUsize,
    number: AtomicUsize,
}

impl Clients {
    pub(crate) fn new(http: reqwest::Client, yard: Arc<Yard>, book: Arc<Book>) -> Self {
        Self { http, yard, book, turn: AtomicUsize::new(0), number: AtomicUsize::new(0) }
    }

    /// A number that no order has had.
    pub(crate) fn number(&self) -> usize {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// The URL of a path at one of the coordinators, in turn.
    pub(crate) fn url(&self, path: &str) -> Option<String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = self.yard.address(turn).or_else(|| self.yard.address(turn + 1))?;
        Some(format!("{address}{path}"))
    }

    /// Makes a start until it is accepted, and writes it into the book.
    ///
    /// # Errors
    /// If it is refused, or not accepted in time.
    pub(crate) async fn place(&self, key: &str, order: Order, body: &Value) -> Result<Uuid, String> {
        let begun = Instant::now();
        for turn in 0.. {
            if begun.elapsed() > PATIENCE {
                return Err(format!("the start `{key}` was not accepted in {} s", PATIENCE.as_secs()));
            }
            if let Some(saga) = self.try_to_place(key, body, "").await? {
                self.book.accepted(saga, Entry { order, leave: Leave::AsOrdered });
                return Ok(saga);
            }
            rest(PAUSES[turn.min(PAUSES.len() - 1)]).await;
        }
        unreachable!("the loop ends by an answer or by impatience")
    }

    /// One try; nothing if it may be made again.
    async fn try_to_place(&self, key: &str, body: &Value, query: &str) -> Result<Option<Uuid>, String> {
        let Some(url) = self.url(&format!("/v1/sagas{query}")) else { return Ok(None) };
        let request = self.http.post(url).header("Idempotency-Key", key).json(body);
        let answer = request.send().await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        *self.book.notes().answers.entry(status).or_default() += 1;
        match (status, answer) {
            (202, Ok(answer)) => {
                let saga = answer.json::<Value>().await.ok();
                Ok(saga.and_then(|saga| saga["id"].as_str()?.parse().ok()))
            }
            (0 | 408 | 429 | 503, _) | (_, Err(_)) => Ok(None),
            (_, Ok(answer)) => {
                let said = answer.text().await.unwrap_or_default();
                Err(format!("the start `{key}` was answered {status}: {said}"))
            }
        }
    }

    /// Places one ordinary order.
    async fn place_next(&self) {
        let number = self.number();
        let order = Order::number(number);
        let body = json!({ "saga": "place-order", "input": order.input() });
        if let Err(violation) = self.place(&format!("soak-{number}"), order, &body).await {
            self.book.violation(violation);
        }
    }

    /// How many sagas end in a second when there is always another one to start; `length` is measured, after as long a
    /// warm-up.
    pub(crate) async fn top_rate(self: &Arc<Self>, length: Duration) -> f64 {
        let (begun, ended) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let workers = (0..IN_FLIGHT).map(|_| {
            let (clients, ended) = (self.clone(), ended.clone());
            tokio::spawn(async move {
                while begun.elapsed() < length * 2 {
                    clients.place_and_wait().await;
                    if begun.elapsed() > length && begun.elapsed() < length * 2 {
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
        ended.load(Ordering::Relaxed) as f64 / length.as_secs_f64()
    }

    async fn place_and_wait(&self) {
        let number = self.number();
        let order = Order::number(number);
        let body = json!({ "saga": "place-order", "input": order.input() });
        let key = format!("soak-{number}");
        match self.try_to_place(&key, &body, "?wait=10s").await {
            Ok(Some(saga)) => self.book.accepted(saga, Entry { order, leave: Leave::AsOrdered }),
            // Without haste, as the others do.
            Ok(None) => {
                let _ =
                    self.place(&key, order, &body).await.map_err(|violation| self.book.violation(violation));
            }
            Err(violation) => self.book.violation(violation),
        }
    }

    /// The open loop: so many orders a second, independent of the end of those before; returns when all are accepted.
    pub(crate) async fn order(self: &Arc<Self>, rate: f64, length: Duration) {
        let (begun, room) = (Instant::now(), Arc::new(Semaphore::new(WAITING_MAX)));
        let mut pulse = tokio::time::interval(PULSE);
        let mut placed = 0_u64;
        while begun.elapsed() < length {
            pulse.tick().await;
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            for _ in placed..due {
                match room.clone().try_acquire_owned() {
                    Ok(place) => {
                        let clients = self.clone();
                        tokio::spawn(async move {
                            clients.place_next().await;
                            drop(place);
                        });
                    }
                    Err(_) => self.book.notes().left_out += 1,
                }
            }
            placed = placed.max(due);
        }
        let all = u32::try_from(WAITING_MAX).expect("a small number");
        let _ = room.acquire_many(all).await;
    }
}
