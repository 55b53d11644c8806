//! A part of the demo and no service: the card provider, a company of its own, as a real HTTP server.
//!
//! It honours keys: the same key is the same charge. It tells what became of a charge, refunds what there is, and never
//! charges for a key that was given up. Like other providers it has cards for tests, whose numbers say what goes wrong:
//!
//! | number ends with | charge |
//! |---|---|
//! | `0002` | declined |
//! | `0504` | made, and the first request for it is answered 504 |
//! | `9504` | made, and every request for it is answered 504 |
//! | `7504` | the same, and the provider does not tell what became of it |
//!
//! | call | answer |
//! |---|---|
//! | `POST /charges` | charges, or declines |
//! | `GET /charges/{key}` | the answer to the charge; 404 if there is none, 501 if the provider does not tell |
//! | `DELETE /charges/{key}` | the same, and without a charge there will never be one |
//! | `POST /refunds` | gives back what was charged; without a charge there will never be one |
//!
//! It runs in a thread of its own, and its books end with its process: a real one outlives those that ask it, and the tests
//! that kill services run it in a process that stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// The request for a charge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) key: String,
    pub(crate) card: String,
    /// In minor units.
    pub(crate) amount: i64,
    pub(crate) currency: String,
}

/// The answer to a charge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Charged {
    Charged { receipt: String },
    Declined,
}

/// The request for a refund.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refund {
    /// The key of the charge.
    pub(crate) charge: String,
}

/// The answer to a refund.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Refunded {
    Refunded {
        amount: i64,
        currency: String,
    },
    /// Nothing was charged, and nothing will be.
    Nothing,
}

/// A charge in the provider's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key under which it was asked for.
    pub key: String,
    /// In minor units.
    pub amount: i64,
    /// It was given back.
    pub is_refunded: bool,
    /// Requests for this charge, the first one included.
    pub requests: u32,
    /// Questions what became of it.
    pub inquiries: u32,
    currency: String,
    card: String,
}

/// What the number of a card says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Fine,
    Declined,
    FirstAnswerLost,
    AnswersLost,
    AnswersLostAndUntold,
}

impl Conduct {
    fn of(card: &str) -> Self {
        let by_number = [
            ("0002", Self::Declined),
            ("0504", Self::FirstAnswerLost),
            ("9504", Self::AnswersLost),
            ("7504", Self::AnswersLostAndUntold),
        ];
        let found = by_number.into_iter().find(|(digits, _)| card.ends_with(digits));
        found.map_or(Self::Fine, |(_, conduct)| conduct)
    }
}

#[derive(Default)]
struct Books {
    charges: BTreeMap<String, Entry>,
    declined: BTreeSet<String>,
    /// Keys that will never charge.
    given_up: BTreeSet<String>,
}

type Shared = Arc<Mutex<Books>>;

fn open(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    // A request that panicked has changed one entry, or none.
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The provider: its address and its books.
#[derive(Clone)]
pub struct CardProvider {
    books: Shared,
    url: String,
}

impl CardProvider {
    /// Starts one on a free port of this machine; it runs until the process ends.
    ///
    /// # Errors
    /// If there is no port or no thread for it.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let books = Shared::default();
        let routes = Router::new()
            .route("/charges", post(charge))
            .route("/charges/{key}", get(find).delete(give_up))
            .route("/refunds", post(refund))
            .with_state(books.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, routes).await
            })
        };
        std::thread::Builder::new().name("card-provider".to_owned()).spawn(serving)?;
        Ok(Self { books, url })
    }

    /// The one that the card service of this process asks if no other is given; it is started when it is first asked for.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn of_the_demo() -> &'static Self {
        static DEMO: LazyLock<CardProvider> =
            LazyLock::new(|| CardProvider::start().expect("a port and a thread for the card provider"));
        &DEMO
    }

    /// Where it answers, as `http://127.0.0.1:4711`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its books: the charges that it has made, by key.
    pub fn entries(&self) -> Vec<Entry> {
        open(&self.books).charges.values().cloned().collect()
    }

    /// The books of one saga in a line, by the beginning of its keys: requests to charge, questions what became of them, and
    /// what was done.
    pub fn told_of(&self, saga: &str) -> String {
        let entries = self.entries();
        let of_saga: Vec<&Entry> = entries.iter().filter(|entry| entry.key.starts_with(saga)).collect();
        let sum = |count: fn(&Entry) -> u32| of_saga.iter().map(|entry| count(entry)).sum::<u32>();
        let refunded = of_saga.iter().filter(|entry| entry.is_refunded).count();
        format!(
            "requests: {}, inquiries: {}, charges: {}, refunds: {refunded}",
            sum(|entry| entry.requests),
            sum(|entry| entry.inquiries),
            of_saga.len(),
        )
    }
}

fn receipt(key: &str) -> Charged {
    Charged::Charged { receipt: format!("card-{}", key.split('/').next().unwrap_or_default()) }
}

async fn charge(State(books): State<Shared>, Json(request): Json<Charge>) -> Response {
    let (mut books, conduct) = (open(&books), Conduct::of(&request.card));
    let key = request.key;
    if books.given_up.contains(&key) {
        return (StatusCode::CONFLICT, "this key was given up").into_response();
    }
    if conduct == Conduct::Declined {
        books.declined.insert(key);
        return Json(Charged::Declined).into_response();
    }
    let Charge { card, amount, currency, .. } = request;
    let entry = books.charges.entry(key.clone()).or_insert_with(|| Entry {
        key: key.clone(),
        amount,
        is_refunded: false,
        requests: 0,
        inquiries: 0,
        currency,
        card,
    });
    entry.requests += 1;
    let is_lost = match conduct {
        Conduct::Fine | Conduct::Declined => false,
        Conduct::FirstAnswerLost => entry.requests == 1,
        Conduct::AnswersLost | Conduct::AnswersLostAndUntold => true,
    };
    match is_lost {
        true => StatusCode::GATEWAY_TIMEOUT.into_response(),
        false => Json(receipt(&key)).into_response(),
    }
}

async fn find(State(books): State<Shared>, Path(key): Path<String>) -> Response {
    answer(&mut open(&books), &key)
}

async fn give_up(State(books): State<Shared>, Path(key): Path<String>) -> Response {
    let mut books = open(&books);
    let answer = answer(&mut books, &key);
    if answer.status() == StatusCode::NOT_FOUND {
        books.given_up.insert(key);
    }
    answer
}

/// The answer to an inquiry.
fn answer(books: &mut Books, key: &str) -> Response {
    if books.declined.contains(key) {
        return Json(Charged::Declined).into_response();
    }
    let Some(entry) = books.charges.get_mut(key) else { return StatusCode::NOT_FOUND.into_response() };
    entry.inquiries += 1;
    match Conduct::of(&entry.card) {
        Conduct::AnswersLostAndUntold => StatusCode::NOT_IMPLEMENTED.into_response(),
        Conduct::Fine | Conduct::Declined | Conduct::FirstAnswerLost | Conduct::AnswersLost => {
            Json(receipt(key)).into_response()
        }
    }
}

async fn refund(State(books): State<Shared>, Json(request): Json<Refund>) -> Json<Refunded> {
    let mut books = open(&books);
    let Some(entry) = books.charges.get_mut(&request.charge) else {
        books.given_up.insert(request.charge);
        return Json(Refunded::Nothing);
    };
    // Asked again, it is the same refund.
    entry.is_refunded = true;
    Json(Refunded::Refunded { amount: entry.amount, currency: entry.currency.clone() })
}
