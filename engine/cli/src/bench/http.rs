//! Sagas that are started as users start them (`--via http`): `POST /v1/sagas?wait=` to the real API on a loopback port.
//!
//! The API runs on the coordinator's threads, as in `redress serve`; the client on threads of its own (`threads`). Each saga
//! in flight has a connection, kept for the next one, so that there are exactly as many as sagas in flight.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit};
use redress_api::{Access, Limits, bind, serve};
use redress_coordinator::{Engine, StartRequest};
use redress_core::state::Status;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Exchange};
use super::drive::SagaEnd;

/// Descriptors of this process that are no connection's: the journal's and the broker's connections, files, pipes.
const DESCRIPTORS_KEPT: u64 = 256;

/// The API of a bench.
pub(super) struct Api {
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

/// The client of a bench; cheap to clone, and its clones share connections.
#[derive(Clone)]
pub(super) struct Http {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// What is read of the answer to a start.
#[derive(Deserialize)]
struct Answer {
    status: String,
    ended_at: Option<IgnoredAny>,
    parked: Option<IgnoredAny>,
}

impl Api {
    /// Serves the API of this coordinator on a free port.
    ///
    /// # Errors
    /// If there is no free port.
    pub(super) async fn serve(engine: Engine) -> anyhow::Result<Self> {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &Access::Loopback).await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let serving = tokio::spawn(serve(listener, engine, Access::Loopback, stop.clone()));
        Ok(Self { address, stop, serving })
    }

    /// Answers what is under way, and ends.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.serving.await??)
    }
}

/// The most sagas that can be in flight over HTTP: the API has a limit of connections, and both ends of each are
/// descriptors of this process.
pub(super) fn in_flight_max() -> usize {
    let connections = Limits::of_this_process().connections;
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let pairs = descriptors.saturating_sub(DESCRIPTORS_KEPT) / 2;
    connections.min(usize::try_from(pairs).unwrap_or(usize::MAX)).max(1)
}

impl Http {
    /// A client of the API at this address; no connection is made before the first saga.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Arc::default() }
    }

    /// Starts a saga and waits for its end. While it is still open when the API answers, the same start with the same key
    /// is asked again: it waits on.
    ///
    /// # Errors
    /// If the API refuses it, or does not answer.
    pub(super) async fn play(self, request: StartRequest) -> anyhow::Result<SagaEnd> {
        let exchange = Exchange::start(self.address, &request.key, body(&request).to_string());
        loop {
            let answer = self.ask(&exchange).await?;
            let at = Instant::now();
            let answer: Answer = serde_json::from_slice(&answer).context("the API's answer shows no saga")?;
            if answer.ended_at.is_some() || answer.parked.is_some() {
                return Ok(SagaEnd { status: word(&answer.status)?, at });
            }
        }
    }

    async fn ask(&self, exchange: &Exchange) -> anyhow::Result<Vec<u8>> {
        let kept = self.idle.lock().expect("no code panics under this lock").pop();
        if let Some(mut connection) = kept {
            match connection.make(exchange).await {
                Ok(answer) => {
                    self.keep(connection);
                    return answer.if_accepted();
                }
                // The server closes connections that were idle for long. The same key is the same saga.
                Err(error) => {
                    tracing::debug!(%error, "a kept connection is gone; another one takes its place")
                }
            }
        }
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.make(exchange).await?;
        self.keep(connection);
        answer.if_accepted()
    }

    fn keep(&self, connection: Connection) {
        self.idle.lock().expect("no code panics under this lock").push(connection);
    }
}

/// The body of a start, as the API reads it.
fn body(request: &StartRequest) -> serde_json::Value {
    let mut body = json!({ "saga": request.saga, "input": request.input });
    if let Some(faults) = &request.faults {
        body["faults"] = faults.clone();
    }
    body
}

fn word(status: &str) -> anyhow::Result<&'static str> {
    let known = Status::WORDS.into_iter().find(|word| *word == status);
    known.with_context(|| format!("the API shows a saga with the status `{status}`, which there is not"))
}
