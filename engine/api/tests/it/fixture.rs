//! The setting of a test: an engine on servers of its own or shared ones, and its router, asked in-process.
//!
//! No participant answers, so a saga that is started stays at its first step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use redress_api::{Access, router};
use redress_coordinator::journal::ensure_database;
use redress_coordinator::{Config, Engine};
use redress_core::{Command, Compensates, SagaDefinition, saga};
use redress_devstack::Stack;
use redress_wire::{Topology, Wire, WireConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;

/// The data of the saga `sell`.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sale {
    pub(crate) payment: u64,
    pub(crate) address: String,
}

macro_rules! commands {
    ($($name:ident { $field:ident: $type:ty } = $service:literal / $command:literal),+ $(,)?) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name { $field: $type }

        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )+};
}

commands! {
    Charge { payment: u64 } = "till" / "charge",
    Refund { payment: u64 } = "till" / "refund",
    Ship { address: String } = "truck" / "ship",
}

impl Compensates<Charge> for Refund {}

fn sell() -> SagaDefinition {
    saga::<Sale>("sell", 1)
        .step("charge", |s| Charge { payment: s.payment })
        .compensate(|s| Refund { payment: s.payment })
        .pivot("ship", |s| Ship { address: s.address.clone() })
        .build()
}

/// A body that starts a saga.
pub(crate) const SALE: &str = r#"{"saga":"sell","input":{"payment":7,"address":"1 Harbour Street"}}"#;

/// An engine, and the access to it.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    /// The URL of the journal's database.
    pub(crate) journal: String,
    access: Access,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Fixture {
    /// On the servers that all tests share.
    pub(crate) async fn new() -> Self {
        Self::on(redress_devstack::shared().await, |config| config.allow_faults = true).await
    }

    pub(crate) async fn on(stack: Arc<Stack>, configure: impl FnOnce(&mut Config)) -> Self {
        static FIXTURES: AtomicU32 = AtomicU32::new(0);
        let name = format!("api{}x{}", std::process::id(), FIXTURES.fetch_add(1, Ordering::Relaxed));
        ensure_database(&stack.postgres().url(&name)).await.unwrap();
        let topology = Topology::new(&name).unwrap();
        let wire = Wire::connect(&stack.nats().url(), topology, WireConfig::for_tests()).await.unwrap();
        let journal = stack.postgres().url(&name);
        let mut config = Config::new(journal.clone());
        // A busy machine takes its time; a test without a database says how long it waits for one.
        config.acquire_timeout = Duration::from_secs(20);
        configure(&mut config);
        let engine = Engine::open(config, vec![sell()], wire).await.unwrap();
        Self { engine, journal, access: Access::Loopback }
    }

    /// The same engine, for clients that bear a token.
    pub(crate) fn behind(&self, token: &str) -> Self {
        let access = Access::Token(token.to_owned());
        Self { engine: self.engine.clone(), journal: self.journal.clone(), access }
    }

    /// Asks; `asked` is method and path, then a header per line.
    pub(crate) async fn ask(&self, asked: &str, body: impl Into<Body>) -> Answer {
        let mut lines = asked.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.engine.clone(), self.access.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "").await
    }

    /// Sends JSON with this key.
    pub(crate) async fn start(&self, key: &str, body: impl Into<Body>) -> Answer {
        self.ask(&format!("POST /v1/sagas\ncontent-type: application/json\nidempotency-key: {key}"), body)
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(&format!("POST {path}\ncontent-type: application/json"), body).await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `404 unknown-path: there is nothing at ...`; also checks what every problem must have.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let text = |name: &str| {
            problem[name]
                .as_str()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| panic!("no {name}: {problem}"))
        };
        let (kind, _, _) = (text("type"), text("title"), text("instance"));
        format!("{} {}: {}", self.status.as_u16(), kind.strip_prefix("/problems/").unwrap(), text("detail"))
    }
}
