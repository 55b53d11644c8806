//! A client of a coordinator's HTTP API: start sagas, wait for them, find them, operate them.
//!
//! ```no_run
//! use redress_client::{Client, ClientConfig, SagaContract, SagaEnd};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Sale { customer: String, tracking: Option<String> }
//!
//! /// Stands in the crate of contracts that this program shares with the sagas.
//! const SELL: SagaContract<Sale> = SagaContract::new("sell", 1);
//!
//! # async fn sale() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(ClientConfig::new("http://127.0.0.1:8080"))?;
//! let sale = Sale { customer: "alice".to_owned(), tracking: None };
//! let saga = client.start(&SELL, &sale).key("order-1").tag("customer", "alice").await?;
//! let ended = saga.ended().await?;
//! if let SagaEnd::Completed = ended.end {
//!     println!("sent as {:?}", ended.data.tracking);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program without the type starts by name and with JSON: `client.start("sell", &json!({ "customer": "alice" }))`.
//!
//! # What is repeated
//!
//! A request that may be made twice without harm is made again while its time lasts, if no answer came or one that says
//! "not now": a coordinator that is started anew, or a database that fails over, is back within seconds.
//!
//! | request | repeated | because |
//! |---|---|---|
//! | queries | yes | they change nothing |
//! | a start | yes, with the same key | the same key is the same saga |
//! | an event | yes, with the same key | a saga takes it once |
//! | operator commands, faults | no | the first one may have been carried out, and the second means something else then |
//! | a refusal | no | it would be refused again |
//!
//! A start that was not answered may have been taken: the same start with the same key finds out, also later and from
//! another process. [`Start::idempotency_key`] has the key before anything is sent.

mod call;
mod client;
mod config;
mod error;
mod event;
mod event_view;
mod handle;
mod letters;
mod query;
mod start;
mod transport;
mod view;
mod wait;

pub use call::{Call, IfMatch};
pub use client::Client;
pub use config::ClientConfig;
pub use error::{ClientError, Problem};
pub use event::{SendEvent, SendEventByTag, SendEventError};
pub use event_view::{Delivered, EventVerdict, SentEvent};
pub use handle::{EndError, SagaHandle};
pub use letters::{ChangedLetters, DeadLetter, LetterDecision, LetterGroup, LetterQuery};
pub use query::{Include, SagaQuery};
pub use redress_core::dead_letter::{LetterCode, LetterStatus, LetterVerb};
pub use redress_core::decide::{OperatorCommand, Resolution, Verb};
pub use redress_core::history::{HistoryEntry, HistoryEvent};
pub use redress_core::state::{Cause, CauseKind, ParkCode, ParkReason, StepError};
pub use redress_core::{
    EndedSaga, JsonText, Name, SagaContract, SagaData, SagaEnd, SagaId, Startable, Timestamp, WrongData,
};
pub use start::{Start, StartError};
pub use view::{
    AddedFault, Awaited, Begun, Cleared, DefinitionVersion, Page, Plan, RemainingStep, RetriedPage, Saga,
    SagaStatus, StandingFault, Step, Struck, Undo,
};
pub use wait::{Look, Wait, WaitNews};
