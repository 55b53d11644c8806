//! A card provider as a real HTTP server, behind a gateway that loses answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The most that a card holds.
pub(crate) const CARD_LIMIT: i64 = 1_000;

/// What the gateway does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayFault {
    /// Passes it on, and answers 504 instead of the provider's answer.
    Answers504,
    /// Passes it on, and hangs up.
    DropsTheAnswer,
    /// Hangs up before the provider hears of it.
    DropsTheRequest,
    /// Passes it on, and is silent until the test lets it go on; then it brings the answer.
    Delays,
    /// Is silent until the test lets it go on; only then it passes it on.
    DelaysTheRequest,
    /// Passes it on twice, and brings both answers.
    AnswersTwice,
}

/// The treatment of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// The same key has the same charge.
    Honoured,
    /// Every request charges.
    Ignored,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChargeRequest {
    pub(crate) key: String,
    pub(crate) amount: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RefundRequest {
    pub(crate) key: String,
    /// The key of the charge.
    pub(crate) charge: String,
}

#[derive(Default)]
struct Books {
    /// Amounts by key.
    charges: Vec<(String, i64)>,
    declined: BTreeSet<String>,
    /// Keys that will never charge.
    cancelled: BTreeSet<String>,
    /// Refunded amounts, by the key of the charge.
    refunds: Vec<(String, i64)>,
    /// Answers to refunds by their own key.
    refunded: BTreeMap<String, i64>,
    inquiries: u32,
}

struct Shared {
    keys: Keys,
    books: Mutex<Books>,
    faults: Mutex<VecDeque<GatewayFault>>,
    /// One permit for each request that the gateway holds back.
    held: Semaphore,
    gate: Semaphore,
    inside: Mutex<(u32, u32)>,
}

/// The provider, and the gateway before it.
#[derive(Clone)]
pub(crate) struct Provider {
    shared: Arc<Shared>,
    pub(crate) url: String,
}

impl Provider {
    pub(crate) async fn start(keys: Keys) -> Self {
        let shared = Arc::new(Shared {
            keys,
            books: Mutex::default(),
            faults: Mutex::default(),
            held: Semaphore::new(0),
            gate: Semaphore::new(0),
            inside: Mutex::default(),
        });
        let routes = Router::new()
            .route("/charges", post(charge))
            .route("/charges/{key}", get(charge_of).delete(cancel))
            .route("/refunds", post(refund))
            .with_state(shared.clone());
        let provider = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = provider.local_addr().unwrap().to_string();
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", gateway.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(provider, routes).await });
        let of_gateway = shared.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = gateway.accept().await.unwrap();
                tokio::spawn(pass(of_gateway.clone(), client, behind.clone()));
            }
        });
        Self { shared, url }
    }

    /// What happens to the next charges and refunds.
    pub(crate) fn faults(&self, faults: &[GatewayFault]) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// Waits until the gateway holds back one more request.
    pub(crate) async fn holds_one(&self) {
        self.shared.held.acquire().await.unwrap().forget();
    }

    /// Lets go on what is held back.
    pub(crate) fn let_go(&self, requests: usize) {
        self.shared.gate.add_permits(requests);
    }

    /// The most requests that were held back at the same time.
    pub(crate) fn most_at_once(&self) -> u32 {
        self.shared.inside.lock().unwrap().1
    }

    pub(crate) fn inquiries(&self) -> u32 {
        self.shared.books.lock().unwrap().inquiries
    }

    /// Charges and refunds, as `charged 30, charged 30, refunded 30`.
    pub(crate) fn books(&self) -> String {
        let books = self.shared.books.lock().unwrap();
        let charged = books.charges.iter().map(|(_, amount)| format!("charged {amount}"));
        let refunded = books.refunds.iter().map(|(_, amount)| format!("refunded {amount}"));
        charged.chain(refunded).collect::<Vec<_>>().join(", ")
    }

    /// What cardholders have paid in the end.
    pub(crate) fn paid(&self) -> i64 {
        let books = self.shared.books.lock().unwrap();
        let sum = |amounts: &[(String, i64)]| amounts.iter().map(|(_, amount)| amount).sum::<i64>();
        sum(&books.charges) - sum(&books.refunds)
    }
}

async fn charge(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<ChargeRequest>,
) -> (StatusCode, Json<bool>) {
    let mut books = shared.books.lock().unwrap();
    if shared.keys == Keys::Honoured {
        if books.cancelled.contains(&request.key) {
            return (StatusCode::CONFLICT, Json(false));
        }
        if books.charges.iter().any(|(key, _)| *key == request.key) {
            return (StatusCode::OK, Json(true));
        }
    }
    if request.amount > CARD_LIMIT {
        books.declined.insert(request.key);
        return (StatusCode::OK, Json(false));
    }
    books.charges.push((request.key, request.amount));
    (StatusCode::OK, Json(true))
}

async fn charge_of(
    State(shared): State<Arc<Shared>>,
    Path(key): Path<String>,
) -> (StatusCode, Json<Option<bool>>) {
    let mut books = shared.books.lock().unwrap();
    books.inquiries += 1;
    let is_charged = books.charges.iter().any(|(charged, _)| *charged == key);
    let is_declined = books.declined.contains(&key);
    (StatusCode::OK, Json((is_charged || is_declined).then_some(is_charged)))
}

async fn cancel(State(shared): State<Arc<Shared>>, Path(key): Path<String>) -> StatusCode {
    let mut books = shared.books.lock().unwrap();
    if books.charges.iter().all(|(charged, _)| *charged != key) {
        books.cancelled.insert(key);
    }
    StatusCode::NO_CONTENT
}

/// Bears that there is nothing to refund, and then never charges for this key.
async fn refund(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<RefundRequest>,
) -> (StatusCode, Json<i64>) {
    let mut books = shared.books.lock().unwrap();
    if let Some(amount) = books.refunded.get(&request.key) {
        return (StatusCode::OK, Json(*amount));
    }
    let charged = books.charges.iter().find(|(key, _)| *key == request.charge).map(|(_, amount)| *amount);
    match charged {
        Some(amount) => books.refunds.push((request.charge.clone(), amount)),
        None => drop(books.cancelled.insert(request.charge.clone())),
    }
    let amount = charged.unwrap_or(0);
    books.refunded.insert(request.key, amount);
    (StatusCode::OK, Json(amount))
}

/// Passes one request on; each connection has one.
async fn pass(shared: Arc<Shared>, mut client: TcpStream, behind: String) {
    let Some(request) = request(&mut client).await else { return };
    let may_fail = request.starts_with(b"POST");
    let fault = if may_fail { shared.faults.lock().unwrap().pop_front() } else { None };
    let answer = match fault {
        None => forward(&behind, &request).await,
        Some(GatewayFault::Answers504) => {
            forward(&behind, &request).await;
            b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
        }
        Some(GatewayFault::DropsTheAnswer) => {
            forward(&behind, &request).await;
            Vec::new()
        }
        Some(GatewayFault::DropsTheRequest) => Vec::new(),
        Some(GatewayFault::Delays) => {
            let answer = forward(&behind, &request).await;
            hold(&shared).await;
            answer
        }
        Some(GatewayFault::DelaysTheRequest) => {
            hold(&shared).await;
            forward(&behind, &request).await
        }
        Some(GatewayFault::AnswersTwice) => {
            let mut answers = forward(&behind, &request).await;
            answers.extend(forward(&behind, &request).await);
            answers
        }
    };
    // The client may be gone.
    let _ = client.write_all(&answer).await;
}

async fn hold(shared: &Shared) {
    {
        let mut inside = shared.inside.lock().unwrap();
        inside.0 += 1;
        inside.1 = inside.1.max(inside.0);
    }
    shared.held.add_permits(1);
    shared.gate.acquire().await.unwrap().forget();
    shared.inside.lock().unwrap().0 -= 1;
}

/// Head and body of a request.
async fn request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let read = client.read(&mut part).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return Some(request);
        }
    }
}

/// The provider's whole answer; the client asks for a connection that ends with it.
async fn forward(behind: &str, request: &[u8]) -> Vec<u8> {
    let mut provider = TcpStream::connect(behind).await.unwrap();
    provider.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    provider.read_to_end(&mut answer).await.unwrap();
    answer
}
