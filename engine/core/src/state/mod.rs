//! The state of a saga: the model that decisions compute with.
//!
//! One enum per lifecycle, with the data of a situation inside its variant: the way that a saga goes ([`Direction`]),
//! what keeps it from going on ([`Hold`]), where each of its steps stands ([`Progress`]). The [`Status`] is a word for
//! the first two, and is derived. `completed`, `compensated` and `closed` are the ends, and no transition leads out of
//! them. The form in which the journal stores all this is a matter of its own (`stored.rs`).
//!
//! ```text
//! running ───────────────► completed
//!    │  ▲                                      from each of these on the left,
//!    │  └──── parked, paused ───► closed       an operator: pause, close;
//!    ▼  ┌────  (operator)                      the engine: park
//! compensating ──────────► compensated
//! ```

mod cause;
mod command;
mod direction;
mod hold;
mod optional_time;
mod park;
mod place;
mod progress;
mod saga;
mod status;
mod step;
mod stored;
mod time;
mod transition;

pub use cause::{Cause, CauseKind};
pub use command::{AttemptState, PendingCommand};
pub use direction::{Direction, End, PlannedUndo, Unwinding};
pub use hold::Hold;
pub use park::{ParkCode, ParkReason};
pub use place::{OrderPlace, PlaceMove};
pub use progress::Progress;
pub use saga::{STATE_FORMAT, SagaState};
pub use status::Status;
pub use step::{AnsweredCommand, KeptEvent, ResolutionKind, StepError, StepState, UnverifiedResolution};
pub use transition::{IllegalTransition, ProgressKind, Transition};
