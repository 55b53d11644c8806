//! The saga coordinator: journal, intake, dispatch, timers.
//!
//! Any number of coordinators share one journal without a leader and without a lease. Each takes batches of replies,
//! reads the sagas that they speak of, decides in memory, writes everything in one transaction, and only then
//! acknowledges the replies and publishes the commands. The revision keeps two of them apart: if a saga has moved since
//! it was read, nothing of the batch is written, and it is decided again under row locks, taken in the order of the ids.
//!
//! | trouble | what happens |
//! |---|---|
//! | crash before the commit | the replies are delivered again |
//! | crash after the commit | the reply comes again and the open command is published again; or `due_at` passes |
//! | the answer to a COMMIT is lost | the batch is decided again on the state that the journal then has |
//! | another coordinator moved a saga meanwhile | the batch is decided again, with locks |
//! | one saga of a batch is broken | it alone becomes a dead letter; the others go on |
//! | database down | replies rest, starts are refused with "unavailable" |
//! | many large sagas at once | batches are bounded by bytes as well, begin small, and are halved after a failure |
//! | the database's clock steps back | waits are measured anew: none lasts longer than twice its policy's limit |
//! | broker down | starts and operator commands are accepted; nothing is sent until it is back; no attempt is spent |
//! | broker back without its store | a command that may be lost is sent again at once, as the same attempt |

mod awaiting;
mod batch;
mod batch_size;
mod broker;
mod broker_watch;
mod clock;
pub mod config;
pub mod crash;
mod decider;
mod end_watch;
pub mod engine;
mod engine_events;
mod engine_faults;
mod engine_letters;
mod engine_reads;
mod fingerprint;
mod for_caller;
mod gathered;
mod gauges;
mod health;
mod housekeeping;
mod intake;
pub mod journal;
mod kept;
mod letter_intake;
mod letter_view;
mod measure;
pub mod metrics;
mod operator;
mod pauses;
pub mod ports;
mod prepared;
mod probes;
mod publisher;
mod registry;
mod reply_lag;
pub mod requests;
mod retries;
mod room;
mod rules;
mod saga_handle;
mod sequencer;
mod shared_look;
mod start;
mod starter;
mod system_clock;
pub mod tags;
mod timers;
mod typed_start;
mod units;
pub mod view;
mod waiters;
mod wire_bus;

pub use awaiting::AwaitedStart;
pub use config::{Admission, Config};
pub use engine::Engine;
pub use engine_events::{Delivered, EVENT_SAGAS_MAX, EventError, SentEvent};
pub use engine_letters::{ChangedLetters, LETTERS_MAX, LetterError, LetterRequest};
pub use journal::OpenJournalError;
pub use letter_view::{LetterView, MessageView};
pub use ports::{Include, JournalError, Keep, LetterFilter, LetterGroup, LetterRoom, ListFilter};
pub use redress_postgres::Migrations;
pub use requests::{
    FaultError, OpenError, OperatorError, OperatorRequest, PlanError, Readiness, StartError, StartRequest,
    Started,
};
pub use retries::{RETRIES_MAX, Retried};
pub use rules::Decide;
pub use saga_handle::{EndError, SagaHandle};
pub use system_clock::SystemClock;
pub use typed_start::{TypedStart, TypedStartError};
pub use view::{Page, QueuedView, SagaView};
pub use waiters::Ended;
