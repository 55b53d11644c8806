//! Redress: saga orchestration over Postgres and JetStream.
//!
//! This crate is the facade: the types to write sagas and services with, and the program that runs them.
//!
//! ```
//! use redress::{Command, Generated, SagaDefinition, saga};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use uuid::Uuid;
//!
//! #[derive(Serialize, Deserialize, JsonSchema, Command)]
//! #[command(service = "payment", name = "charge", crate = ::redress)]
//! struct ChargePayment { payment: Uuid, amount: i64 }
//! #[derive(Serialize, Deserialize, JsonSchema, Command)]
//! #[command(service = "payment", name = "refund", compensates = ChargePayment, crate = ::redress)]
//! struct RefundPayment { payment: Uuid }
//! #[derive(Serialize, Deserialize, JsonSchema, Command)]
//! #[command(service = "shipping", name = "ship", crate = ::redress)]
//! struct ShipOrder { address: String }
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Sale {
//!     amount: i64,
//!     address: String,
//!     /// Made when the saga starts.
//!     #[serde(default)]
//!     payment: Generated<Uuid>,
//! }
//!
//! fn sell() -> SagaDefinition {
//!     saga::<Sale>("sell", 1)
//!         .step("charge-payment", |s| ChargePayment { payment: *s.payment, amount: s.amount })
//!             .compensate(|s| RefundPayment { payment: *s.payment })
//!         .pivot("ship-order", |s| ShipOrder { address: s.address.clone() })
//!         .build()
//! }
//! assert!(sell().to_mermaid().contains("ship-order"));
//! ```
//!
//! The other side is a participant, in a process and a database of its own:
//!
//! ```
//! # use redress::Command;
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # use uuid::Uuid;
//! # #[derive(Serialize, Deserialize, JsonSchema, Command)]
//! # #[command(service = "payment", name = "charge", crate = ::redress)]
//! # struct ChargePayment { payment: Uuid, amount: i64 }
//! # #[derive(Serialize, Deserialize, JsonSchema, Command)]
//! # #[command(service = "payment", name = "refund", compensates = ChargePayment, crate = ::redress)]
//! # struct RefundPayment { payment: Uuid }
//! use redress::sqlx::{self, PgPool};
//! use redress::{
//!     Answer, Participant, ServiceHandlers, Topology, Tx, Undone, Wire, WireConfig, done, inbox_migrator, service,
//! };
//!
//! struct Payments;
//!
//! #[service("payment", crate = ::redress)]
//! impl Payments {
//!     #[action]
//!     async fn charge(&self, tx: &mut Tx<'_>, charge: ChargePayment) -> Answer<()> {
//!         let insert = sqlx::query("INSERT INTO payment (id, amount) VALUES ($1, $2)");
//!         insert.bind(charge.payment).bind(charge.amount).execute(tx).await?;
//!         done(())
//!     }
//!
//!     #[compensation(of = charge)]
//!     async fn refund(&self, tx: &mut Tx<'_>, refund: RefundPayment) -> Undone<()> {
//!         sqlx::query("DELETE FROM payment WHERE id = $1").bind(refund.payment).execute(tx).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = PgPool::connect("postgres://127.0.0.1/payment").await?;
//! // The inbox lies beside the tables of the service: effect and answer commit together.
//! inbox_migrator().run(&pool).await?;
//! let wire = Wire::connect("nats://127.0.0.1:4222", Topology::new("redress")?, WireConfig::default()).await?;
//! let shutdown = std::future::pending();
//! let participant = Payments::register(Participant::new(Payments::SERVICE));
//! participant.serve(Payments, pool, wire, shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A program is then `fn main() -> ExitCode { redress::app([sell()]).services([payments]).remote("shipping").main() }`: a command
//! that no service handles is refused at the start. A coordinator alone is `redress::main([sell()])`.
//!
//! The program that runs the sagas starts them with their own data, and reads the end with them:
//! [`Engine::start`]. Another program does so over HTTP, with the [`client`].
//!
//! | feature | for | without it |
//! |---|---|---|
//! | `participant` | services: [`Handle`], [`Participant`] | sagas and contracts alone, without a runtime |
//! | `coordinator` | a coordinator in a program of your own: [`Engine`] | |
//! | `client` | programs that start sagas over HTTP: [`client`] | no HTTP client |
//! | `cli` | the `redress` commands: [`app`], [`main`] | no clap and no HTTP server |
//! | `testing` | tests of a service's handlers on a real database: `testing::ServiceTest` | |
//! | `devstack` | private Postgres and NATS for programs and tests: [`devstack`] | |
//!
//! All but `testing` are on by default; a service takes `default-features = false, features = ["participant"]`.
//!
//! What most programs name stands here; the rest is in modules, so that every type of a signature can be named:
//! [`core`], and [`coordinator`], [`participant`], [`wire`], [`postgres`] with their features.

mod generated;

pub use generated::Generated;
#[cfg(feature = "cli")]
pub use redress_cli::{App, DemoAnswer, DemoStart, MissingHandler, UnfitHandler, WiringError, app, main};
#[cfg(feature = "coordinator")]
pub use redress_coordinator::{
    Config, EndError, Engine, EventError, FaultError, JournalError, OpenError, OperatorError,
    OperatorRequest, SagaHandle, SagaView, SentEvent, StartError, StartRequest, Started, TypedStart,
    TypedStartError,
};
pub use redress_core::decide::{GivenEvent, OperatorCommand, Resolution, Verb};
pub use redress_core::definition::{Delivery, InDoubt, LateSuccess};
pub use redress_core::{
    Command, Compensates, EndedSaga, IdempotencyKey, Name, Phase, Rejection, RetryPolicy, SagaContract,
    SagaData, SagaDefinition, SagaEnd, SagaId, Startable, WrongData, saga,
};
pub use redress_macros::Command;
#[cfg(feature = "participant")]
pub use redress_macros::service;
#[cfg(feature = "participant")]
pub use redress_participant::{
    AckMode, ActionInDoubt, Answer, AnswerError, AnswerOrLater, CallOut, CommandLimits, Compensate,
    CompensateAll, CompensateLater, FaultMode, GiveUp, Given, Handle, HandleAll, HandleAtLeastOnce,
    HandleLater, HandlerError, HandlerOutcome, Inquiry, Keyed, Listen, ListenWithoutDatabase, MigrateError,
    OrLater, Participant, ParticipantConfig, Prepared, PreparedUndo, Purpose, Received, ServeError, Service,
    ServiceConfig, ServiceError, ServiceHandlers, Tx, UndoByCall, Undone, UndoneOrLater, answer, done,
    inbox_migrator, later, reject, sqlx,
};
#[cfg(any(feature = "participant", feature = "coordinator"))]
pub use redress_wire::{ConnectError, Topology, Wire, WireConfig};
/// The signal by which [`Engine::run`] is ended.
#[cfg(feature = "coordinator")]
pub use tokio_util::sync::CancellationToken;

/// For the code that the macros write.
#[doc(hidden)]
pub use redress_core::checks;

#[cfg(feature = "testing")]
pub use redress_participant::testing;

/// The pure core in full: definitions, states, decisions, history.
pub use redress_core as core;

/// The coordinator in full: its requests, views, journal and metrics.
#[cfg(feature = "coordinator")]
pub use redress_coordinator as coordinator;

/// The participant library in full.
#[cfg(feature = "participant")]
pub use redress_participant as participant;

/// The broker's side in full: subjects, streams, consumers.
#[cfg(any(feature = "participant", feature = "coordinator"))]
pub use redress_wire as wire;

/// Databases before they are used: their faults, connections and migrations.
#[cfg(any(feature = "participant", feature = "coordinator"))]
pub use redress_postgres as postgres;

/// A client of a coordinator's HTTP API.
#[cfg(feature = "client")]
pub use redress_client as client;

/// Private servers, for programs and tests.
#[cfg(feature = "devstack")]
pub use redress_devstack as devstack;
