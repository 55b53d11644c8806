//! Drives the pure core through every mishap, without a clock, a network or a database.
//!
//! - [`exhaust`]: enumerates all choices that a test makes.
//! - [`explorer`]: runs one saga through every mix of a few mishaps.
//! - [`simulator`]: plays whole installations, with everything going wrong at once, from a seed.
//! - [`story`]: the life of one saga of yours, told line by line.
//! - [`matrix`]: every step × phase × fault of a definition of yours.
//! - [`delivery`]: what the participants of a life saw of it.
//! - [`check`]: what must hold of a saga's life, whatever happened to it.
//! - [`exam`]: what every journal and every bus must do, in memory or not.
//! - [`participants`], [`memory`], [`world`]: the stage on which they play.

pub mod check;
pub mod delivery;
pub mod exam;
mod example;
pub mod exhaust;
pub mod explorer;
pub mod matrix;
pub mod memory;
pub mod participants;
pub mod simulator;
pub mod specimen;
pub mod story;
mod theatre;
pub mod world;

pub use matrix::{UnwindMatrix, unwind_matrix};
pub use story::{Life, Story};
