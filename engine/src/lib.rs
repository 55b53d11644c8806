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
    Outcome, Participant, ParticipantSettings, Service, ServiceOptions, Tx, Undone, done, reject,
};
pub use redress_wire::{Settings, Topology, Wire};

/// Private servers, for programs and tests.
pub mod devstack {
    pub use redress_devstack::{Data, Durability, Stack, StackOptions, StopMode, shared};
}
