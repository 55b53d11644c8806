//! Redress: saga orchestration over Postgres and JetStream.
//!
//! This crate is the facade: what users write sagas and services with, and the program that runs them.
//!
//! ```
//! use redress::{Command, Compensates, SagaDefinition, saga};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct ChargePayment { payment: u64, amount: i64 }
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct RefundPayment { payment: u64 }
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct ShipOrder { address: String }
//!
//! impl Command for ChargePayment {
//!     const SERVICE: &'static str = "payment";
//!     const NAME: &'static str = "charge";
//!     type Reply = ();
//! }
//! impl Command for RefundPayment {
//!     const SERVICE: &'static str = "payment";
//!     const NAME: &'static str = "refund";
//!     type Reply = ();
//! }
//! impl Command for ShipOrder {
//!     const SERVICE: &'static str = "shipping";
//!     const NAME: &'static str = "ship";
//!     type Reply = ();
//! }
//! impl Compensates<ChargePayment> for RefundPayment {}
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Sale { payment: u64, amount: i64, address: String }
//!
//! fn sell() -> SagaDefinition {
//!     saga::<Sale>("sell", 1)
//!         .step("charge-payment", |s| ChargePayment { payment: s.payment, amount: s.amount })
//!             .compensate(|s| RefundPayment { payment: s.payment })
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
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct ChargePayment { payment: i64, amount: i64 }
//! # impl Command for ChargePayment {
//! #     const SERVICE: &'static str = "payment";
//! #     const NAME: &'static str = "charge";
//! #     type Reply = ();
//! # }
//! use redress::sqlx::{self, PgPool};
//! use redress::{Answer, Handle, Participant, Settings, Topology, Tx, Wire, done, inbox_migrator};
//!
//! struct Payments;
//!
//! impl Handle<ChargePayment> for Payments {
//!     async fn handle(&self, tx: &mut Tx<'_>, charge: ChargePayment) -> Answer<()> {
//!         sqlx::query("INSERT INTO payment (id, amount) VALUES ($1, $2)")
//!             .bind(charge.payment)
//!             .bind(charge.amount)
//!             .execute(&mut **tx)
//!             .await?;
//!         done(())
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = PgPool::connect("postgres://127.0.0.1/payment").await?;
//! // The inbox lies beside the tables of the service: effect and answer commit together.
//! inbox_migrator().run(&pool).await?;
//! let wire = Wire::connect("nats://127.0.0.1:4222", Topology::new("redress")?, Settings::default()).await?;
//! let shutdown = std::future::pending();
//! Participant::new("payment", pool, wire).handle::<ChargePayment>().serve(Payments, shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A program is then `fn main() -> ExitCode { redress::main([sell()]) }`.

pub use redress_cli::{App, DemoStart, app, main};
pub use redress_coordinator::{Config, Engine, OrderRequest, SagaView, StartError, StartRequest, Started};
pub use redress_core::decide::{Order, Resolution, Verb};
pub use redress_core::definition::LateSuccess;
pub use redress_core::{
    Command, Compensates, IdempotencyKey, Name, Phase, Rejection, RetryPolicy, SagaData, SagaDefinition,
    SagaId, saga,
};
pub use redress_participant::{
    Answer, Compensate, CompensateAll, FaultObedience, Handle, HandleAll, HandlerError, Keyed, Listen,
    MigrateError, Outcome, Participant, ParticipantSettings, ServeError, Service, ServiceError,
    ServiceOptions, Tx, Undone, done, inbox_migrator, reject, sqlx,
};
pub use redress_wire::{ConnectError, Settings, Topology, Wire};

/// Private servers, for programs and tests.
pub mod devstack {
    pub use redress_devstack::{Data, Durability, Stack, StackOptions, StopMode, shared};
}
