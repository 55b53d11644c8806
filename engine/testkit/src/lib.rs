//! Drives the pure core through every disruption, without a clock, a network or a database.
//!
//! - [`choices`]: enumerates all choices that a test makes.
//! - [`explorer`]: runs one saga through every mix of a few disruptions.
//! - [`simulator`]: plays whole installations, with everything going wrong at once, from a seed.
//! - [`story`]: the run of one saga of yours, told line by line.
//! - [`matrix`]: every step × phase × fault of a definition of yours.
//! - [`delivery`]: what the participants of a run saw of it.
//! - [`check`]: what must hold of a saga's run, whatever happened to it.
//! - [`conformance`]: what every journal and every bus must do, in memory or not.
//! - [`participants`], [`memory`], [`world`]: the stage on which they play.

pub mod check;
pub mod choices;
pub mod conformance;
pub mod delivery;
mod example;
pub mod explorer;
pub mod fixtures;
pub mod matrix;
pub mod memory;
pub mod participants;
pub mod run_result;
pub mod simulator;
pub mod story;
mod virtual_run;
pub mod world;

pub use matrix::{UnwindMatrix, unwind_matrix};
pub use run_result::RunResult;
pub use story::Story;
