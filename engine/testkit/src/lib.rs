//! Proves sagas of yours without a server: on the pure core, behind the real inbox rules, in virtual time.
//!
//! One line in a test proves a definition, [`unwind_matrix`]; a [`Story`] tells one run of it line by line. Both play the
//! saga in a [`World`](world::World) of its own and hold the run against the rules in [`check`]. The crate links no runtime,
//! no database and no coordinator, so that every project can afford it.
//!
//! - [`story`]: the run of one saga of yours, told line by line.
//! - [`matrix`]: every step × phase × fault of a definition of yours.
//! - [`check`]: what must hold of a saga's run, whatever happened to it.
//! - [`run_result`], [`delivery`]: a run as the saga tells it, and what its participants saw of it.
//! - [`world`], [`participants`]: the harness: one saga, and the hidden truth against which its account is checked.
//! - [`choices`], [`fixtures`]: all ways that a test can go, and sagas to try it with.
//!
//! A journal or a bus of your own is proven by the conformance suite in `redress-simulation`, and so is the engine itself.

pub mod check;
pub mod choices;
pub mod delivery;
mod events;
mod example;
pub mod fixtures;
mod manners;
pub mod matrix;
pub mod participants;
pub mod run_result;
pub mod story;
mod virtual_run;
pub mod world;

pub use manners::UnansweredCall;
pub use matrix::{UnwindMatrix, unwind_matrix};
pub use run_result::RunResult;
pub use story::Story;
